-- Tasks that completed without a feature. $1 feature, $2 version, $3 source, $4 completions up to this number were
-- searched before, $5 last number to search, $6 most tasks
SELECT t.task_id, t.completion
FROM tasks t
WHERE t.source = $3
  AND t.state = 'done'
  AND t.completion > $4
  AND t.completion <= $5
  AND NOT EXISTS (
      SELECT 1
      FROM runs r
      WHERE r.task_id = t.task_id
        AND r.feature = $1
        AND r.version >= $2 -- this code or newer
        AND r.state <> 'waiting' -- and not left behind by a binary that does not know it
  )
ORDER BY t.completion
LIMIT $6
