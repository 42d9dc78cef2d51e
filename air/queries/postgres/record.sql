-- Within the swap: this report is the live one.
INSERT INTO air_reports (fence, as_of, row_count, suppressed, input_files, published_at, live)
VALUES ($1, timestamptz 'epoch' + $2 * interval '1 microsecond', $3, $4, $5, clock_timestamp(), TRUE)
ON CONFLICT (fence) DO UPDATE
   SET as_of = excluded.as_of, row_count = excluded.row_count, suppressed = excluded.suppressed,
       input_files = excluded.input_files, published_at = excluded.published_at, live = TRUE
