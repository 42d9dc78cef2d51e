-- Takes this very task unless another claim holds it. $1 task, $2 now, $3 lease end, $4 worker
UPDATE tasks
SET held_state = CASE state WHEN 'running' THEN coalesce(held_state, 'waiting') ELSE state END,
    held_due_at = CASE state WHEN 'running' THEN coalesce(held_due_at, $2) ELSE due_at END,
    state = 'running',
    due_at = NULL,
    lease = $3,
    worker = $4,
    fence = greatest(fence + 1, $2),
    claimed_generation = generation
WHERE task_id = $1
  AND coalesce(lease, 0) <= $2 -- nobody holds it
RETURNING fence
