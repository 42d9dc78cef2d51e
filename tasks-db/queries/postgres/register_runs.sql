-- New input: every run again, with all its tries. $1 tasks (JSON)
UPDATE runs
SET state = 'waiting',
    attempts = 0,
    visible_at = 0,
    claims_without_verdict = 0
WHERE task_id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb))
