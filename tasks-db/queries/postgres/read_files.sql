-- How the files of the last reading stand. $1 task, $2 broken files (JSON [[key, reason], …]), $3 claimed generation
UPDATE files
SET state = CASE
        WHEN key IN (SELECT b.value ->> 0 FROM jsonb_array_elements($2::jsonb) b) THEN 'quarantined'
        ELSE 'present'
    END,
    reason = (SELECT b.value ->> 1 FROM jsonb_array_elements($2::jsonb) b WHERE b.value ->> 0 = files.key LIMIT 1)
WHERE task_id = $1
  AND state <> 'accepted' -- those are no input
  AND generation <= $3 -- not a version that was registered meanwhile
  AND (
      state <> 'present' -- most have nothing to change
      OR key IN (SELECT b.value ->> 0 FROM jsonb_array_elements($2::jsonb) b)
  )
