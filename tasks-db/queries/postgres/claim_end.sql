-- Ends a claim with a verdict. $1 task, $2 fence, $3 new state, $4 due again at, $5 error, $6 number of the
-- completion, null while a run has tries left
UPDATE tasks
SET state = $3,
    due_at = $4,
    lease = NULL,
    ended_fence = fence,
    claims_without_verdict = 0,
    done_generation = CASE WHEN $6 IS NULL THEN done_generation ELSE claimed_generation END,
    completion = coalesce($6, completion),
    last_error = $5
WHERE task_id = $1
  AND fence = $2 -- no later claim
  AND state = 'running'
