-- How far a shard was read. $1 source, $2 stream, $3 shard, $4 fence, $5 sequence, null where it has not moved,
-- $6 sub-sequence, $7 microseconds behind, $8 now
UPDATE stream_shards
SET sequence = coalesce($5, sequence),
    sub_sequence = CASE WHEN $5 IS NULL THEN sub_sequence ELSE $6 END,
    behind = $7,
    checkpoint_at = $8
WHERE source = $1
  AND stream = $2
  AND shard = $3
  AND fence = $4 -- no later claim
  AND lease IS NOT NULL -- not ended
RETURNING shard
