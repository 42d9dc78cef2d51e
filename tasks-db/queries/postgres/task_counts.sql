-- $1 task
SELECT reason, count FROM read_counts WHERE task_id = $1 ORDER BY reason
