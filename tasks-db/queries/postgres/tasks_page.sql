-- A page of tasks, oldest chunk first. $1 source, $2 path, $3 from, $4 to, $5 and $6 the last chunk and task before this
-- page, $7 most; each null for any
SELECT t.task_id, t.source, t.source_bucket, t.file_path, t.data_chunk, t.width, t.ts_to_process, t.state, t.lane, t.due_at,
       t.lease, t.worker, t.fence, t.generation, t.done_generation, t.claims_without_verdict, t.quarantined_files,
       t.last_error, t.read_lines, t.read_rows,
       (SELECT count(*) FROM runs r WHERE r.task_id = t.task_id AND r.state = 'parked') AS parked_runs
FROM tasks t
WHERE ($1 IS NULL OR t.source = $1)
  AND ($2 IS NULL OR t.file_path = $2)
  AND t.data_chunk >= coalesce($3, '-9223372036854775808'::bigint)
  AND t.data_chunk < coalesce($4, 9223372036854775807)
  AND (t.data_chunk, t.task_id) > ($5, $6)
ORDER BY t.data_chunk, t.task_id
LIMIT $7
