-- Remembers new shards. $1 source, $2 stream, $3 shards (JSON [[shard, [parent, …]], …]), $4 where their reading begins, null
-- for the oldest record, $5 now
INSERT INTO stream_shards (source, stream, shard, parents, start_at, declared_at)
SELECT $1, $2, j.value ->> 0, (j.value -> 1)::text, $4, $5
FROM jsonb_array_elements($3::jsonb) j
ORDER BY j.value ->> 0
ON CONFLICT (source, stream, shard) DO NOTHING
RETURNING shard
