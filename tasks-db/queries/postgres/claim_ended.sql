-- Whether this very claim has completed already (its answer was lost). $1 task, $2 fence
SELECT state, due_at, generation > claimed_generation AS input_moved
FROM tasks
WHERE task_id = $1
  AND ended_fence = $2
  AND fence = $2 -- no later claim
