-- Tasks by source and state.
SELECT source, state, count(*) AS tasks FROM tasks GROUP BY source, state ORDER BY source, state
