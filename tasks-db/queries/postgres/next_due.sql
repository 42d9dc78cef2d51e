-- When a claim can succeed next. $1 the worker's sources (JSON)
WITH RECURSIVE busy (path_id) AS (
    -- as in claim_path.sql
    SELECT min(path_id) FROM tasks WHERE state IN ('waiting', 'running')
    UNION ALL
    SELECT (
        SELECT min(t.path_id)
        FROM tasks t
        WHERE t.path_id > busy.path_id
          AND t.state IN ('waiting', 'running')
    )
    FROM busy
    WHERE busy.path_id IS NOT NULL
)
SELECT min((
    SELECT min(coalesce(t.lease, t.due_at))
    FROM tasks t
    WHERE t.path_id = p.path_id
      AND t.state IN ('waiting', 'running')
)) AS due_at
FROM busy
JOIN paths p ON p.path_id = busy.path_id
WHERE p.source IN (SELECT value FROM jsonb_array_elements_text($1::jsonb))
