-- $1 task
DELETE FROM quarantine WHERE task_id = $1
