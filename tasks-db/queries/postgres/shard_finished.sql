-- Whether this very claim has finished the shard already (its answer was lost). $1 source, $2 stream, $3 shard, $4 fence
SELECT shard
FROM stream_shards
WHERE source = $1
  AND stream = $2
  AND shard = $3
  AND fence = $4 -- no later claim
  AND finished_at IS NOT NULL
