-- Keeps a claim on a job alive. $1 name, $2 fence, $3 lease end
UPDATE cron_jobs
SET lease = $3
WHERE name = $1
  AND fence = $2 -- no later claim
  AND lease IS NOT NULL -- not ended
RETURNING name
