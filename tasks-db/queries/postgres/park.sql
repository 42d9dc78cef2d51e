-- Ends a claim whose input cannot be read. $1 task, $2 fence, $3 new state, $4 due again at, $5 error
UPDATE tasks
SET state = $3,
    due_at = $4,
    lease = NULL,
    ended_fence = fence,
    claims_without_verdict = 0,
    last_error = $5
WHERE task_id = $1
  AND fence = $2 -- no later claim
  AND state = 'running'
