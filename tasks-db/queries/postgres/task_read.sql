-- A task by its number, as `tasks show` tells of it. $1 task
SELECT t.task_id, t.source, t.source_bucket, t.file_path, t.data_chunk, t.width, t.ts_to_process, t.state, t.lane, t.due_at,
       t.lease, t.worker, t.fence, t.generation, t.done_generation, t.claims_without_verdict, t.quarantined_files,
       t.last_error, t.read_lines, t.read_rows,
       (SELECT count(*) FROM runs r WHERE r.task_id = t.task_id AND r.state = 'parked') AS parked_runs
FROM tasks t
WHERE t.task_id = $1
