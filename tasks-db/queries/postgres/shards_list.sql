-- Every shard of every stream.
SELECT source, stream, shard, parents, start_at, sequence, sub_sequence, lease, worker, behind, checkpoint_at, finished_at
FROM stream_shards
ORDER BY source, stream, shard
