-- The task database. Every instant is a BIGINT, microseconds since the epoch, UTC; widths are microseconds too. Text that
-- is compared or sorted has the order of its bytes, as in SQLite. There are no foreign keys: each new row would lock the
-- path or task that it belongs to, and claims would find it locked.

CREATE TABLE sources (
    source      text COLLATE "C" NOT NULL PRIMARY KEY,
    width       bigint NOT NULL,
    layout      text   NOT NULL,
    declared_at bigint NOT NULL
);

CREATE TABLE features (
    feature       text COLLATE "C" NOT NULL,
    version       bigint NOT NULL,
    source        text COLLATE "C" NOT NULL,
    engine        text   NOT NULL,
    keys          text   NOT NULL, -- JSON: [name, …]
    columns       text   NOT NULL, -- JSON: [[name, type], …]
    definition    text   NOT NULL, -- empty where it cannot be told
    first_seen_at bigint NOT NULL,
    checked       bigint NOT NULL, -- completions up to this number were searched for missing runs
    PRIMARY KEY (feature, version)
);

-- The turns of the paths.
CREATE SEQUENCE claim_turns;

-- The order in which tasks were done: whoever draws a number shares a lock until the commit, so that whoever takes it alone
-- knows that no number below the last is still to come.
CREATE SEQUENCE completions;

-- A path of a source: what takes turns.
CREATE TABLE paths (
    path_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source    text COLLATE "C" NOT NULL,
    file_path text COLLATE "C" NOT NULL,
    served    bigint NOT NULL DEFAULT 0, -- number of its last claim
    claims    bigint NOT NULL DEFAULT 0, -- how many it had: every fourth is the backfill's
    UNIQUE (source, file_path)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.1);

-- One row for each chunk of a path.
CREATE TABLE tasks (
    task_id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path_id                bigint NOT NULL,
    source                 text COLLATE "C" NOT NULL,
    source_bucket          text   NOT NULL,
    file_path              text COLLATE "C" NOT NULL,
    data_chunk             bigint NOT NULL,
    ts_to_process          bigint NOT NULL,
    width                  bigint NOT NULL,
    state                  text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'parked')),
    lane                   text COLLATE "C" NOT NULL CHECK (lane IN ('fresh', 'backfill')),
    due_at                 bigint, -- back-off included; only while waiting
    lease                  bigint, -- when it ends; only while running
    worker                 text,   -- who claimed it last, for people
    fence                  bigint NOT NULL DEFAULT 0, -- of the last claim; never falls
    ended_fence            bigint NOT NULL DEFAULT 0, -- of the last claim that completed
    claims_without_verdict bigint NOT NULL DEFAULT 0, -- the present claim included
    generation             bigint NOT NULL,
    claimed_generation     bigint NOT NULL DEFAULT 0,
    done_generation        bigint NOT NULL DEFAULT 0,
    completion             bigint NOT NULL DEFAULT 0, -- number of its last completion
    held_state             text,   -- what a held task goes back to
    held_due_at            bigint,
    quarantined_files      bigint NOT NULL DEFAULT 0, -- left out by the last run
    read_lines             bigint,
    read_rows              bigint,
    last_error             text,
    UNIQUE (path_id, data_chunk), -- (source, file_path, data_chunk)
    CHECK ((state = 'waiting') = (due_at IS NOT NULL)),
    CHECK ((state = 'running') = (lease IS NOT NULL))
) WITH (
    -- Each task leaves a few dead rows behind as it is claimed and ends; claims walk over those that lie in the indexes of
    -- unfinished tasks. So they are swept by number, not by their share of a table that only grows.
    fillfactor = 80,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_analyze_threshold = 2000,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0
);

-- Claims look at unfinished tasks alone, so that finished ones cost them nothing. One answers «has this path anything
-- due», the other «what is its oldest».
CREATE INDEX tasks_due ON tasks (path_id, coalesce(lease, due_at)) WHERE state IN ('waiting', 'running');
CREATE INDEX tasks_queue ON tasks (path_id, lane, data_chunk) WHERE state IN ('waiting', 'running');
CREATE INDEX tasks_parked ON tasks (data_chunk, task_id) WHERE state = 'parked';

CREATE INDEX tasks_completed ON tasks (source, completion) WHERE state = 'done';
CREATE INDEX tasks_by_chunk ON tasks (data_chunk, task_id);

-- The newest version of each key.
CREATE TABLE files (
    source        text COLLATE "C" NOT NULL,
    key           text COLLATE "C" NOT NULL,
    task_id       bigint NOT NULL,
    version       text COLLATE "C" NOT NULL,
    size          bigint NOT NULL, -- bytes
    state         text COLLATE "C" NOT NULL CHECK (state IN ('present', 'quarantined', 'missing', 'accepted')),
    generation    bigint NOT NULL, -- that this version made
    registered_at bigint NOT NULL,
    reason        text,
    PRIMARY KEY (source, key)
);

CREATE INDEX files_of_task ON files (task_id);
CREATE INDEX files_in_trouble ON files (task_id) WHERE state IN ('missing', 'quarantined');

-- One feature over one task.
CREATE TABLE runs (
    task_id                bigint NOT NULL,
    feature                text COLLATE "C" NOT NULL,
    data_chunk             bigint NOT NULL, -- the task's
    version                bigint NOT NULL, -- that ran last, or is wanted
    state                  text COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'done', 'superseded', 'parked')),
    attempts               bigint NOT NULL DEFAULT 0, -- failures on this input
    visible_at             bigint NOT NULL DEFAULT 0, -- back-off: not before
    claims_without_verdict bigint NOT NULL DEFAULT 0, -- claims that died under it
    started                bigint, -- fence of the claim that began it alone and has not ended it
    fence                  bigint NOT NULL DEFAULT 0, -- of the last claim whose worker knew the feature
    done_generation        bigint NOT NULL DEFAULT 0,
    rows                   bigint,
    bytes                  bigint,
    dropped                text   NOT NULL DEFAULT '[]', -- JSON: [[reason, count], …]
    error                  text,
    ended_at               bigint,
    PRIMARY KEY (task_id, feature)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_analyze_threshold = 2000,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX runs_unfinished ON runs (feature, state, task_id) WHERE state IN ('waiting', 'parked');
CREATE INDEX runs_by_feature ON runs (feature, state, data_chunk, rows);

-- Examples of what was refused; a whole file has neither line nor column.
CREATE TABLE quarantine (
    task_id  bigint NOT NULL,
    entry    bigint NOT NULL,
    key      text   NOT NULL,
    line     bigint,
    "column" text,
    reason   text   NOT NULL,
    text     text   NOT NULL,
    PRIMARY KEY (task_id, entry)
);

-- Exact counts of the last reading.
CREATE TABLE read_counts (
    task_id bigint NOT NULL,
    reason  text COLLATE "C" NOT NULL,
    count   bigint NOT NULL,
    PRIMARY KEY (task_id, reason)
);

CREATE TABLE cron_jobs (
    name       text COLLATE "C" NOT NULL PRIMARY KEY,
    schedule   text   NOT NULL,
    next_at    bigint NOT NULL,
    lease      bigint, -- only while it runs
    worker     text,
    fence      bigint NOT NULL DEFAULT 0,
    started_at bigint,
    ended_at   bigint,
    last_error text
);

-- Streams cut into shards: who reads which, and how far that came.
CREATE TABLE stream_shards (
    source        text COLLATE "C" NOT NULL,
    stream        text COLLATE "C" NOT NULL,
    shard         text COLLATE "C" NOT NULL,
    parents       text   NOT NULL, -- JSON: [shard, …]
    start_at      bigint,          -- where its reading begins; null for its oldest record
    sequence      text,            -- the last record that is registered; null before the first
    sub_sequence  bigint,          -- the last event within that record; null where all of it is
    lease         bigint,          -- when it ends; only while it is claimed
    worker        text,            -- who claimed it last; the spread counts by it
    fence         bigint NOT NULL DEFAULT 0, -- of the last claim; never falls
    behind        bigint,          -- microseconds behind the newest record, at the last checkpoint
    checkpoint_at bigint,
    finished_at   bigint,
    declared_at   bigint NOT NULL,
    PRIMARY KEY (source, stream, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.1);
