-- Arms tasks again. $1 tasks (JSON), $2 how far to raise the generation, $3 now
UPDATE tasks
SET generation = generation + $2,
    due_at = CASE state WHEN 'running' THEN NULL ELSE greatest(ts_to_process, $3) END,
    held_due_at = CASE WHEN held_state IS NULL THEN NULL ELSE $3 END,
    held_state = CASE WHEN held_state IS NULL THEN NULL ELSE 'waiting' END,
    claims_without_verdict = CASE state WHEN 'running' THEN claims_without_verdict ELSE 0 END,
    state = CASE state WHEN 'running' THEN 'running' ELSE 'waiting' END
WHERE task_id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb))
