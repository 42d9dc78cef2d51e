-- A run failed or was delayed. $1 task, $2 feature, $3 fence, $4 version, $5 state, $6 attempts, $7 visible at, $8 error, $9 now
UPDATE runs
SET version = $4,
    state = $5,
    attempts = $6,
    visible_at = $7,
    started = NULL,
    error = $8,
    ended_at = $9
WHERE task_id = $1
  AND feature = $2
  AND fence = $3 -- part of this claim
RETURNING feature
