-- Every job.
SELECT name, schedule, next_at, lease, started_at, ended_at, last_error FROM cron_jobs ORDER BY name
