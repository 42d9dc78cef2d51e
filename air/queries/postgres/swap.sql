-- A partition of a fixed name is the whole table. The old one's files go when this commits.
DROP TABLE IF EXISTS {table}_rows;
ALTER TABLE {stage} RENAME TO {table}_rows;
ALTER TABLE {table} ATTACH PARTITION {table}_rows DEFAULT;
