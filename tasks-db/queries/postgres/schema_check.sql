-- Fails where a table or a column is missing.
SELECT source, width, layout, declared_at
FROM sources
LIMIT 0;

SELECT feature, version, source, engine, keys, columns, definition, first_seen_at, checked
FROM features
LIMIT 0;

SELECT last_value
FROM claim_turns
LIMIT 0;

SELECT last_value
FROM completions
LIMIT 0;

SELECT path_id, source, file_path, served, claims
FROM paths
LIMIT 0;

SELECT task_id, path_id, source, source_bucket, file_path, data_chunk, ts_to_process, width, state, lane, due_at,
       lease, worker, fence, ended_fence, claims_without_verdict, generation, claimed_generation, done_generation,
       completion, held_state, held_due_at, quarantined_files, read_lines, read_rows, last_error
FROM tasks
LIMIT 0;

SELECT source, key, task_id, version, size, state, generation, registered_at, reason
FROM files
LIMIT 0;

SELECT task_id, feature, data_chunk, version, state, attempts, visible_at, claims_without_verdict, started, fence,
       done_generation, rows, bytes, dropped, error, ended_at
FROM runs
LIMIT 0;

SELECT task_id, entry, key, line, "column", reason, text
FROM quarantine
LIMIT 0;

SELECT task_id, reason, count
FROM read_counts
LIMIT 0;

SELECT name, schedule, next_at, lease, worker, fence, started_at, ended_at, last_error
FROM cron_jobs
LIMIT 0;

SELECT source, stream, shard, parents, start_at, sequence, sub_sequence, lease, worker, fence, behind, checkpoint_at,
       finished_at, declared_at
FROM stream_shards
LIMIT 0;
