-- The path whose turn it is, locked. $1 the worker's sources (JSON), $2 now, $3 paths to pass over (JSON)
WITH RECURSIVE busy (path_id) AS (
    -- Every path with an unfinished task, found by jumping from one to the next in the index: the cost follows these
    -- paths, not their backlog and not the finished tasks.
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
),
turn AS MATERIALIZED (
    SELECT p.path_id, p.served
    FROM busy
    JOIN paths p ON p.path_id = busy.path_id
    WHERE p.source IN (SELECT value FROM jsonb_array_elements_text($1::jsonb)) -- the worker can read it
      AND p.path_id NOT IN (SELECT value::bigint FROM jsonb_array_elements_text($3::jsonb))
      AND EXISTS (
          SELECT 1
          FROM tasks t
          WHERE t.path_id = p.path_id
            AND t.state IN ('waiting', 'running')
            AND coalesce(t.lease, t.due_at) <= $2 -- due, or its lease ran out
      )
)
SELECT p.path_id, p.claims
FROM turn
JOIN paths p ON p.path_id = turn.path_id AND p.served = turn.served -- nobody had this turn meanwhile
ORDER BY turn.served, turn.path_id -- served longest ago
LIMIT 1
FOR NO KEY UPDATE OF p SKIP LOCKED
