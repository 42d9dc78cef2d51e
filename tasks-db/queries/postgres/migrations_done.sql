-- In the order in which they were run.
SELECT digest FROM neartime_migrations ORDER BY number
