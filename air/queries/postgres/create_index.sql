CREATE INDEX ON {stage} (site, segment_group)
