-- The report, or its stage: one row a (site, group, segment). Null is what may not be told. Rows come in the order of the
-- key, so that they are only ever appended, and no index has to be built.
CREATE TABLE IF NOT EXISTS {table} (
    site               TEXT    NOT NULL,
    site_name          TEXT,
    segment            TEXT    NOT NULL,
    segment_name       TEXT,
    segment_group      TEXT    NOT NULL,
    segment_users      INTEGER NOT NULL,
    group_users        INTEGER NOT NULL,
    segment_site_users INTEGER,
    group_site_users   INTEGER,
    index_value        REAL,
    z_score            REAL,
    index_low          REAL,
    index_high         REAL,
    significant        BOOLEAN,
    suppressed         BOOLEAN NOT NULL,
    PRIMARY KEY (site, segment_group, segment)
) WITHOUT ROWID
