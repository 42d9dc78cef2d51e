-- What stands unfinished in each source: looks at those tasks alone. ?1 now. A task of a source that no feature reads is
-- never due: nobody claims it.
SELECT source,
       count(*) FILTER (WHERE state = 'waiting' AND due_at <= ?1 AND is_read) AS due,
       count(*) FILTER (WHERE state = 'waiting' AND NOT (due_at <= ?1 AND is_read)) AS waiting,
       count(*) FILTER (WHERE state = 'running') AS running,
       count(*) FILTER (WHERE state = 'parked') AS parked,
       min(due_at) FILTER (WHERE due_at <= ?1 AND is_read) AS oldest_due_at
FROM (
    SELECT source, state, due_at, source IN (SELECT source FROM features) AS is_read
    FROM tasks INDEXED BY tasks_by_state
    WHERE state IN ('waiting', 'running', 'parked')
) unfinished
GROUP BY source
ORDER BY source
