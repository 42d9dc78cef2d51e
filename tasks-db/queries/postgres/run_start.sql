-- A run begins alone. $1 task, $2 feature, $3 fence
UPDATE runs
SET started = $3
WHERE task_id = $1
  AND feature = $2
  AND fence = $3 -- part of this claim
RETURNING feature
