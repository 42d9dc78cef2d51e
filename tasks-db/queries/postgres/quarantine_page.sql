-- A page of what was refused. $1 source, $2 task, $3 and $4 the last task and entry before this page, $5 most; $1 and $2
-- null for any
SELECT q.task_id, q.entry, t.source, t.file_path, t.data_chunk, q.key, q.line, q."column", q.reason, q.text
FROM quarantine q
JOIN tasks t ON t.task_id = q.task_id
WHERE (q.task_id, q.entry) > ($3, $4)
  AND ($1 IS NULL OR t.source = $1)
  AND ($2 IS NULL OR q.task_id = $2)
ORDER BY q.task_id, q.entry
LIMIT $5
