-- The task database. Every instant is an INTEGER, microseconds since the epoch, UTC; widths are microseconds too.

CREATE TABLE sources (
    source      TEXT    NOT NULL PRIMARY KEY,
    width       INTEGER NOT NULL,
    layout      TEXT    NOT NULL,
    declared_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE features (
    feature       TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    source        TEXT    NOT NULL,
    engine        TEXT    NOT NULL,
    keys          TEXT    NOT NULL, -- JSON: [name, …]
    columns       TEXT    NOT NULL, -- JSON: [[name, type], …]
    definition    TEXT    NOT NULL, -- empty where it cannot be told
    first_seen_at INTEGER NOT NULL,
    checked       INTEGER NOT NULL, -- completions up to this number were searched for missing runs
    PRIMARY KEY (feature, version)
) STRICT, WITHOUT ROWID;

-- Counters: claims (the turn of a path) and completions (the order in which tasks were done).
CREATE TABLE numbers (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO numbers (name, value) VALUES ('claims', 0), ('completions', 0);

-- A path of a source: what takes turns.
CREATE TABLE paths (
    path_id   INTEGER PRIMARY KEY,
    source    TEXT    NOT NULL,
    file_path TEXT    NOT NULL,
    served    INTEGER NOT NULL DEFAULT 0, -- number of its last claim
    claims    INTEGER NOT NULL DEFAULT 0, -- how many it had: every fourth is the backfill's
    UNIQUE (source, file_path)
) STRICT;

-- One row for each chunk of a path.
CREATE TABLE tasks (
    task_id                INTEGER PRIMARY KEY,
    path_id                INTEGER NOT NULL REFERENCES paths (path_id),
    source                 TEXT    NOT NULL,
    source_bucket          TEXT    NOT NULL,
    file_path              TEXT    NOT NULL,
    data_chunk             INTEGER NOT NULL,
    ts_to_process          INTEGER NOT NULL,
    width                  INTEGER NOT NULL,
    state                  TEXT    NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'parked')),
    lane                   TEXT    NOT NULL CHECK (lane IN ('fresh', 'backfill')),
    due_at                 INTEGER, -- back-off included; only while waiting
    lease                  INTEGER, -- when it ends; only while running
    worker                 TEXT,    -- who claimed it last, for people
    fence                  INTEGER NOT NULL DEFAULT 0, -- of the last claim; never falls
    ended_fence            INTEGER NOT NULL DEFAULT 0, -- of the last claim that completed
    claims_without_verdict INTEGER NOT NULL DEFAULT 0, -- the present claim included
    generation             INTEGER NOT NULL,
    claimed_generation     INTEGER NOT NULL DEFAULT 0,
    done_generation        INTEGER NOT NULL DEFAULT 0,
    completion             INTEGER NOT NULL DEFAULT 0, -- number of its last completion
    held_state             TEXT,    -- what a held task goes back to
    held_due_at            INTEGER,
    quarantined_files      INTEGER NOT NULL DEFAULT 0, -- left out by the last run
    read_lines             INTEGER,
    read_rows              INTEGER,
    last_error             TEXT,
    UNIQUE (path_id, data_chunk), -- (source, file_path, data_chunk)
    CHECK ((state = 'waiting') = (due_at IS NOT NULL)),
    CHECK ((state = 'running') = (lease IS NOT NULL))
) STRICT;

-- Claims look at unfinished tasks alone, so that finished ones cost them nothing. One answers «has this path anything
-- due», the other «what is its oldest».
CREATE INDEX tasks_due ON tasks (path_id, coalesce(lease, due_at)) WHERE state IN ('waiting', 'running');
CREATE INDEX tasks_queue ON tasks (path_id, lane, data_chunk) WHERE state IN ('waiting', 'running');

CREATE INDEX tasks_completed ON tasks (source, completion) WHERE state = 'done';
CREATE INDEX tasks_by_chunk ON tasks (data_chunk);
CREATE INDEX tasks_by_state ON tasks (state, data_chunk, task_id, source);

-- The newest version of each key.
CREATE TABLE files (
    source        TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    task_id       INTEGER NOT NULL REFERENCES tasks (task_id),
    version       TEXT    NOT NULL,
    size          INTEGER NOT NULL, -- bytes
    state         TEXT    NOT NULL CHECK (state IN ('present', 'quarantined', 'missing', 'accepted')),
    generation    INTEGER NOT NULL, -- that this version made
    registered_at INTEGER NOT NULL,
    reason        TEXT,
    PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX files_of_task ON files (task_id);
CREATE INDEX files_in_trouble ON files (task_id) WHERE state IN ('missing', 'quarantined');

-- One feature over one task.
CREATE TABLE runs (
    task_id                INTEGER NOT NULL REFERENCES tasks (task_id),
    feature                TEXT    NOT NULL,
    data_chunk             INTEGER NOT NULL, -- the task's
    version                INTEGER NOT NULL, -- that ran last, or is wanted
    state                  TEXT    NOT NULL CHECK (state IN ('waiting', 'done', 'superseded', 'parked')),
    attempts               INTEGER NOT NULL DEFAULT 0, -- failures on this input
    visible_at             INTEGER NOT NULL DEFAULT 0, -- back-off: not before
    claims_without_verdict INTEGER NOT NULL DEFAULT 0, -- claims that died under it
    started                INTEGER, -- fence of the claim that began it alone and has not ended it
    fence                  INTEGER NOT NULL DEFAULT 0, -- of the last claim whose worker knew the feature
    done_generation        INTEGER NOT NULL DEFAULT 0,
    rows                   INTEGER,
    bytes                  INTEGER,
    dropped                TEXT    NOT NULL DEFAULT '[]', -- JSON: [[reason, count], …]
    error                  TEXT,
    ended_at               INTEGER,
    PRIMARY KEY (task_id, feature)
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_unfinished ON runs (task_id) WHERE state IN ('waiting', 'parked');
CREATE INDEX runs_by_feature ON runs (feature, state, data_chunk, rows);

-- Examples of what was refused; a whole file has neither line nor column.
CREATE TABLE quarantine (
    task_id  INTEGER NOT NULL REFERENCES tasks (task_id),
    entry    INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    line     INTEGER,
    "column" TEXT,
    reason   TEXT    NOT NULL,
    text     TEXT    NOT NULL,
    PRIMARY KEY (task_id, entry)
) STRICT, WITHOUT ROWID;

-- Exact counts of the last reading.
CREATE TABLE read_counts (
    task_id INTEGER NOT NULL REFERENCES tasks (task_id),
    reason  TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (task_id, reason)
) STRICT, WITHOUT ROWID;

-- How far a stream of file keys or events was registered; moves in the transaction that registers.
CREATE TABLE stream_checkpoints (
    stream     TEXT    NOT NULL,
    shard      TEXT    NOT NULL,
    sequence   TEXT,             -- the last one registered
    lease      INTEGER,
    worker     TEXT,
    fence      INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (stream, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE cron_jobs (
    name       TEXT    NOT NULL PRIMARY KEY,
    schedule   TEXT    NOT NULL,
    next_at    INTEGER NOT NULL,
    lease      INTEGER, -- only while it runs
    worker     TEXT,
    fence      INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER,
    ended_at   INTEGER,
    last_error TEXT
) STRICT, WITHOUT ROWID;
