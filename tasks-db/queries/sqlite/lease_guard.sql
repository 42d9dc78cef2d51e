-- Whether a lease still holds, and what its end depends on. ?1 task, ?2 fence, ?3 now
SELECT t.generation,
       t.claimed_generation,
       t.ts_to_process,
       t.held_state,
       (
           -- the earliest retry among the runs that this claim's worker knows
           SELECT min(max(r.visible_at, ?3))
           FROM runs r
           WHERE r.task_id = t.task_id
             AND r.state = 'waiting'
             AND r.fence = t.fence
       ) AS retry_at,
       (
           -- what people are shown of the runs that failed
           SELECT r.feature || ': ' || r.error
           FROM runs r
           WHERE r.task_id = t.task_id
             AND r.state IN ('waiting', 'parked')
             AND r.fence = t.fence
             AND r.error IS NOT NULL
           ORDER BY r.feature
           LIMIT 1
       ) AS run_error
FROM tasks t
WHERE t.task_id = ?1
  AND t.fence = ?2 -- no later claim
  AND t.state = 'running' -- not ended
