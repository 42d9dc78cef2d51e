-- Takes this very shard away from its reader. ?1 source, ?2 stream, ?3 shard, ?4 now, ?5 lease end, ?6 worker, ?7 its reader
UPDATE stream_shards
SET lease = ?5,
    worker = ?6,
    fence = max(fence + 1, ?4)
WHERE source = ?1
  AND stream = ?2
  AND shard = ?3
  AND worker = ?7 -- nobody else was quicker
  AND lease IS NOT NULL -- not ended
RETURNING shard, fence, start_at, sequence, sub_sequence, checkpoint_at - behind AS caught_up_at, lease
