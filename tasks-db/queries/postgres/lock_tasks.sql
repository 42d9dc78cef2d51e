-- Whoever locks several tasks does so in this order. $1 tasks (JSON)
SELECT task_id
FROM tasks
WHERE task_id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb))
ORDER BY task_id
FOR NO KEY UPDATE
