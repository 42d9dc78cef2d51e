-- Every report that was published; the one that is live is what air_report holds.
CREATE TABLE IF NOT EXISTS air_reports (
    fence        bigint PRIMARY KEY,
    as_of        timestamptz NOT NULL,
    row_count    bigint NOT NULL,
    suppressed   bigint NOT NULL,
    input_files  bigint NOT NULL,
    published_at timestamptz NOT NULL,
    live         boolean NOT NULL
)
