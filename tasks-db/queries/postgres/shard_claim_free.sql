-- Takes the shard that nobody reads and that was claimed longest ago. $1 source, $2 stream, $3 now, $4 lease end, $5 worker,
-- $6 most shards of a worker
UPDATE stream_shards
SET lease = $4,
    worker = $5,
    fence = greatest(fence + 1, $3) -- grows even where the clock stands still or steps back
WHERE source = $1
  AND stream = $2
  AND shard = (
      SELECT s.shard
      FROM stream_shards s
      WHERE s.source = $1
        AND s.stream = $2
        AND s.finished_at IS NULL
        AND coalesce(s.lease, 0) <= $3 -- nobody holds it, or the lease ran out
        AND NOT EXISTS (
            -- parents first; those that are not known are gone
            SELECT 1
            FROM jsonb_array_elements_text(s.parents::jsonb) j
            JOIN stream_shards p ON p.source = $1 AND p.stream = $2 AND p.shard = j.value
            WHERE p.finished_at IS NULL
        )
      ORDER BY s.fence, s.shard
      LIMIT 1
      FOR NO KEY UPDATE OF s SKIP LOCKED
  )
  AND $6 > (
      SELECT count(*)
      FROM stream_shards s
      WHERE s.source = $1
        AND s.stream = $2
        AND s.worker = $5
        AND s.lease > $3
  )
RETURNING shard, fence, start_at, sequence, sub_sequence, checkpoint_at - behind AS caught_up_at, lease
