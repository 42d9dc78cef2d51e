-- One migrates at a time.
SELECT pg_advisory_xact_lock(hashtextextended('neartime migrations', 0))
