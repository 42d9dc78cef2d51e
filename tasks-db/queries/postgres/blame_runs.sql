-- A claim ended without a verdict: the run that it had begun alone is to blame, and is parked after so many.
-- $1 task, $2 most claims under one run, $3 error, $4 now
UPDATE runs
SET claims_without_verdict = claims_without_verdict + 1,
    started = NULL,
    state = CASE WHEN claims_without_verdict + 1 >= $2 THEN 'parked' ELSE state END,
    error = CASE WHEN claims_without_verdict + 1 >= $2 THEN $3 ELSE error END,
    ended_at = CASE WHEN claims_without_verdict + 1 >= $2 THEN $4 ELSE ended_at END
WHERE task_id = $1
  AND started = (SELECT fence FROM tasks WHERE task_id = $1) -- by the claim that ended just now
RETURNING state
