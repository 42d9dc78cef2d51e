-- Every report that was published; the one that is live is what air_report holds.
CREATE TABLE IF NOT EXISTS air_reports (
    fence        INTEGER PRIMARY KEY,
    as_of        TEXT    NOT NULL,
    row_count    INTEGER NOT NULL,
    suppressed   INTEGER NOT NULL,
    input_files  INTEGER NOT NULL,
    published_at TEXT    NOT NULL,
    live         BOOLEAN NOT NULL
)
