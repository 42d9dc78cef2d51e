-- Remembers that a migration was run. $1 number, $2 digest
INSERT INTO neartime_migrations (number, digest, done_at)
VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
