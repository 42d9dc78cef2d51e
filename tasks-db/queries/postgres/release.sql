-- Gives a task back at no cost. $1 task, $2 fence, $3 due again at, $4 note
UPDATE tasks
SET state = 'waiting',
    due_at = $3,
    lease = NULL,
    claims_without_verdict = greatest(claims_without_verdict - 1, 0),
    last_error = $4
WHERE task_id = $1
  AND fence = $2 -- no later claim
  AND state = 'running'
