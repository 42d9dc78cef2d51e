-- Takes the job that has been due longest. $1 names (JSON), $2 now, $3 lease end, $4 worker
UPDATE cron_jobs
SET lease = $3,
    worker = $4,
    fence = greatest(fence + 1, $2), -- grows even where the clock stands still or steps back
    started_at = $2
WHERE name = (
    SELECT name
    FROM cron_jobs
    WHERE name IN (SELECT value FROM jsonb_array_elements_text($1::jsonb))
      AND next_at <= $2 -- due
      AND coalesce(lease, 0) <= $2 -- nobody runs it, or its lease ran out
    ORDER BY next_at, name
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING name, fence, next_at
