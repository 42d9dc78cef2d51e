-- Forgets what the last reading of a task refused, before a new one's is written. ?1 task
DELETE FROM read_counts WHERE task_id = ?1
