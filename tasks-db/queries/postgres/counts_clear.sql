-- $1 task
DELETE FROM read_counts WHERE task_id = $1
