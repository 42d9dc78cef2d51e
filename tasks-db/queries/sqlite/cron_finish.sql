-- Ends a run of a job, and says when it is due next. ?1 name, ?2 fence, ?3 next due, ?4 error, ?5 now
UPDATE cron_jobs
SET next_at = ?3,
    lease = NULL,
    ended_at = ?5,
    last_error = ?4
WHERE name = ?1
  AND fence = ?2 -- no later claim
  AND lease IS NOT NULL -- not ended
RETURNING name
