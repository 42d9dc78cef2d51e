-- Within the swap: this report is the live one.
INSERT INTO air_reports (fence, as_of, row_count, suppressed, input_files, published_at, live)
VALUES (?1, ?2, ?3, ?4, ?5, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), TRUE)
ON CONFLICT (fence) DO UPDATE
   SET as_of = excluded.as_of, row_count = excluded.row_count, suppressed = excluded.suppressed,
       input_files = excluded.input_files, published_at = excluded.published_at, live = TRUE
