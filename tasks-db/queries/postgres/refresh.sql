-- The claim goes on with the present input. $1 task, $2 fence
UPDATE tasks
SET claimed_generation = generation
WHERE task_id = $1
  AND fence = $2 -- no later claim
  AND state = 'running'
RETURNING task_id
