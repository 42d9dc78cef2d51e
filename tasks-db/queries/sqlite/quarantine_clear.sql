-- Forgets what of a task was quarantined, before a new reading's is written. ?1 task
DELETE FROM quarantine WHERE task_id = ?1
