-- What stands unfinished in each source: looks at those tasks alone. ?1 now
SELECT source,
       count(*) FILTER (WHERE state = 'waiting' AND due_at <= ?1) AS due,
       count(*) FILTER (WHERE state = 'waiting' AND due_at > ?1) AS waiting,
       count(*) FILTER (WHERE state = 'running') AS running,
       count(*) FILTER (WHERE state = 'parked') AS parked,
       min(due_at) FILTER (WHERE due_at <= ?1) AS oldest_due_at
FROM tasks INDEXED BY tasks_by_state
WHERE state IN ('waiting', 'running', 'parked')
GROUP BY source
ORDER BY source
