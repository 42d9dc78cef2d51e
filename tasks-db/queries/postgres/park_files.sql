-- Marks what is gone. $1 task, $2 keys (JSON), $3 claimed generation
UPDATE files
SET state = 'missing',
    reason = 'gone when it was to be read'
WHERE task_id = $1
  AND key IN (SELECT value FROM jsonb_array_elements_text($2::jsonb))
  AND generation <= $3 -- not a version that was registered meanwhile
