-- A shard was read to its end. $1 source, $2 stream, $3 shard, $4 fence, $5 now
UPDATE stream_shards
SET finished_at = $5,
    lease = NULL,
    behind = NULL
WHERE source = $1
  AND stream = $2
  AND shard = $3
  AND fence = $4 -- no later claim
  AND lease IS NOT NULL -- not ended
RETURNING shard
