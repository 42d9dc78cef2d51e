-- A run is published or superseded. $1 task, $2 feature, $3 fence, $4 version, $5 state, $6 generation, $7 rows, $8 bytes,
-- $9 dropped, $10 what it was superseded by, $11 now
UPDATE runs
SET version = $4,
    state = $5,
    attempts = 0,
    visible_at = 0,
    claims_without_verdict = 0,
    started = NULL,
    done_generation = $6,
    rows = coalesce($7, rows),
    bytes = coalesce($8, bytes),
    dropped = $9,
    error = $10,
    ended_at = $11
WHERE task_id = $1
  AND feature = $2
  AND fence = $3 -- part of this claim
RETURNING feature
