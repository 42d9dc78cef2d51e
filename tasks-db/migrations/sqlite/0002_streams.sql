-- Streams cut into shards: who reads which, and how far that came. Takes the place of a table that nothing ever used.
DROP TABLE stream_checkpoints;

CREATE TABLE stream_shards (
    source        TEXT    NOT NULL,
    stream        TEXT    NOT NULL,
    shard         TEXT    NOT NULL,
    parents       TEXT    NOT NULL, -- JSON: [shard, …]
    start_at      INTEGER,          -- where its reading begins; null for its oldest record
    sequence      TEXT,             -- the last record that is registered; null before the first
    sub_sequence  INTEGER,          -- the last event within that record; null where all of it is
    lease         INTEGER,          -- when it ends; only while it is claimed
    worker        TEXT,             -- who claimed it last; the spread counts by it
    fence         INTEGER NOT NULL DEFAULT 0, -- of the last claim; never falls
    behind        INTEGER,          -- microseconds behind the newest record, at the last checkpoint
    checkpoint_at INTEGER,
    finished_at   INTEGER,
    declared_at   INTEGER NOT NULL,
    PRIMARY KEY (source, stream, shard)
) STRICT, WITHOUT ROWID;
