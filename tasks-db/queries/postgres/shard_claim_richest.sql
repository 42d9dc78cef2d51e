-- The worker that a shard is taken away from, and the shard. $1 source, $2 stream, $3 now, $4 worker, $5 most shards of a worker
WITH held AS (
    SELECT worker, count(*) AS shards, min(shard) AS shard
    FROM stream_shards
    WHERE source = $1
      AND stream = $2
      AND lease > $3
    GROUP BY worker
)
SELECT h.worker, h.shard
FROM held h
WHERE h.worker <> $4
  AND h.shards >= 2 + coalesce((SELECT m.shards FROM held m WHERE m.worker = $4), 0) -- so that it evens out
  AND $5 > coalesce((SELECT m.shards FROM held m WHERE m.worker = $4), 0)
ORDER BY h.shards DESC, h.worker
LIMIT 1
