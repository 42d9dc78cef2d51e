-- Makes finished tasks due for a run that was armed. $1 tasks (JSON), $2 lane, $3 now
UPDATE tasks
SET lane = CASE state WHEN 'done' THEN $2 ELSE lane END,
    due_at = CASE state WHEN 'done' THEN $3 ELSE due_at END,
    -- a held task is armed when it is let go
    held_due_at = CASE WHEN held_state = 'done' THEN $3 ELSE held_due_at END,
    held_state = CASE WHEN held_state = 'done' THEN 'waiting' ELSE held_state END,
    state = CASE state WHEN 'done' THEN 'waiting' ELSE state END -- waiting and running tasks will come to it
WHERE task_id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb))
  AND (state = 'done' OR held_state = 'done')
