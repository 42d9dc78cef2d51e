-- Gives a task back as one whose claim ended without a verdict. $1 task, $2 fence, $3 now, $4 note
UPDATE tasks
SET state = 'waiting',
    due_at = $3,
    lease = NULL,
    last_error = $4
WHERE task_id = $1
  AND fence = $2 -- no later claim
  AND state = 'running'
