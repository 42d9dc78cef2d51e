-- Files in trouble are tried again, or given up if they are gone and that is accepted. $1 tasks (JSON), $2 accept
UPDATE files
SET state = CASE WHEN state = 'missing' AND $2 THEN 'accepted' ELSE 'present' END
WHERE task_id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb))
  AND state IN ('missing', 'quarantined')
