-- Keeps a claim alive. $1 task, $2 fence, $3 lease end
UPDATE tasks
SET lease = $3
WHERE task_id = $1
  AND fence = $2 -- no later claim
  AND state = 'running'
RETURNING task_id
