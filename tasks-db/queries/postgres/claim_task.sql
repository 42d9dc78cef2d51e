-- The oldest due task of a path and lane that nobody else has in hand, locked. $1 path, $2 lane, $3 now
SELECT task_id, state, fence, claims_without_verdict, held_state
FROM tasks
WHERE path_id = $1
  AND lane = $2
  AND state IN ('waiting', 'running')
  AND coalesce(lease, due_at) <= $3 -- due, or its lease ran out
ORDER BY data_chunk
LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED
