-- Index names are shared by the whole database and survive the swap: each run has its own.
CREATE INDEX {table}_by_site ON {table} (site, segment_group)
