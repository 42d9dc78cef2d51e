-- A page of the tasks that are parked or have a parked run: tasks_page.sql, beginning with what is parked. CROSS JOIN keeps
-- the planner from walking all tasks, and the index by task holds the unfinished runs alone.
SELECT t.task_id, t.source, t.source_bucket, t.file_path, t.data_chunk, t.width, t.ts_to_process, t.state, t.lane, t.due_at,
       t.lease, t.worker, t.fence, t.generation, t.done_generation, t.claims_without_verdict, t.quarantined_files,
       t.last_error, t.read_lines, t.read_rows,
       (SELECT count(*) FROM runs r WHERE r.task_id = t.task_id AND r.state = 'parked') AS parked_runs
FROM (
    SELECT task_id FROM tasks WHERE state = 'parked'
    UNION
    SELECT task_id FROM runs INDEXED BY runs_unfinished WHERE state IN ('waiting', 'parked') AND state = 'parked'
) parked
CROSS JOIN tasks t ON t.task_id = parked.task_id
WHERE (?1 IS NULL OR t.source = ?1)
  AND (?2 IS NULL OR t.file_path = ?2)
  AND t.data_chunk >= coalesce(?3, -9223372036854775808)
  AND t.data_chunk < coalesce(?4, 9223372036854775807)
  AND (t.data_chunk, t.task_id) > (?5, ?6)
ORDER BY t.data_chunk, t.task_id
LIMIT ?7
