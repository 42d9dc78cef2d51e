-- The report: one row a (site, group, segment). Null is what may not be told. All rows lie in its one partition, which
-- a new report replaces: grants and views stay with this table. Ids are compared by their bytes, as in SQLite: it is
-- quicker than by the rules of a language, and rows come in that order.
CREATE TABLE IF NOT EXISTS air_report (
    site               text COLLATE "C" NOT NULL,
    site_name          text,
    segment            text COLLATE "C" NOT NULL,
    segment_name       text,
    segment_group      text COLLATE "C" NOT NULL,
    segment_users      bigint  NOT NULL,
    group_users        bigint  NOT NULL,
    segment_site_users bigint,
    group_site_users   bigint,
    index_value        double precision,
    z_score            double precision,
    index_low          double precision,
    index_high         double precision,
    significant        boolean,
    suppressed         boolean NOT NULL
) PARTITION BY LIST (site)
