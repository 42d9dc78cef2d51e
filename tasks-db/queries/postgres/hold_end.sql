-- A held task goes back to what it was. $1 task, $2 state, $3 due at
UPDATE tasks
SET state = $2,
    due_at = $3,
    lease = NULL,
    ended_fence = fence,
    held_state = NULL,
    held_due_at = NULL
WHERE task_id = $1
