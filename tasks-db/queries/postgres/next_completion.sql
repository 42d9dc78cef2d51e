-- The number of a completion; see lock_completions.sql.
WITH shared AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(hashtextextended('neartime completions ' || current_schema(), 0))
)
SELECT nextval('completions')
FROM shared
