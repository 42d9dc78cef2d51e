-- Forgets the shards that a stream no longer has. $1 source, $2 stream, $3 shards that it has (JSON), $4 when it was asked
DELETE FROM stream_shards
WHERE source = $1
  AND stream = $2
  AND shard NOT IN (SELECT value FROM jsonb_array_elements_text($3::jsonb))
  AND declared_at < $4 -- a newer list, of another process, may have more
RETURNING source, stream, shard, parents, start_at, sequence, sub_sequence, lease, worker, behind, checkpoint_at, finished_at
