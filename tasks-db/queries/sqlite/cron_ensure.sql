-- Remembers a job, or its new schedule. ?1 name, ?2 schedule, ?3 first due
INSERT INTO cron_jobs (name, schedule, next_at)
VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE
SET schedule = excluded.schedule,
    next_at = excluded.next_at
WHERE schedule <> excluded.schedule -- an unchanged job keeps its place, also one that was missed
