-- Waits until every completion that has drawn a number is committed or gone, and holds up new ones until this transaction
-- ends.
SELECT pg_advisory_xact_lock(hashtextextended('neartime completions ' || current_schema(), 0))
