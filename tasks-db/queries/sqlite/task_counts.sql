-- How much the last reading of a task refused or noticed, by reason. ?1 task
SELECT reason, count FROM read_counts WHERE task_id = ?1 ORDER BY reason
