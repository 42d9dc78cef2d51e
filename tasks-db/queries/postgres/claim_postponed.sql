-- Puts off a task that nobody may claim yet. $1 task, $2 until, $3 why
UPDATE tasks
SET state = 'waiting',
    due_at = $2,
    lease = NULL,
    last_error = $3
WHERE task_id = $1
