-- Keeps a claim on a shard alive. $1 source, $2 stream, $3 shard, $4 fence, $5 lease end
UPDATE stream_shards
SET lease = $5
WHERE source = $1
  AND stream = $2
  AND shard = $3
  AND fence = $4 -- no later claim
  AND lease IS NOT NULL -- not ended
RETURNING shard
