-- The runs of a task, as `tasks show` lists them. ?1 task
SELECT feature, version, state, attempts, claims_without_verdict, done_generation, visible_at, rows, bytes, dropped,
       error, ended_at
FROM runs
WHERE task_id = ?1
ORDER BY feature
