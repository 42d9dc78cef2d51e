-- What a held task goes back to. $1 task
SELECT held_state, held_due_at, ts_to_process, generation > claimed_generation AS input_moved
FROM tasks
WHERE task_id = $1
  AND held_state IS NOT NULL
