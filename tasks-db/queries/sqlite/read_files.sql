-- How the files of the last reading stand. ?1 task, ?2 broken files (JSON [[key, reason], …]), ?3 claimed generation
UPDATE files
SET state = CASE WHEN key IN (SELECT b.value ->> 0 FROM json_each(?2) b) THEN 'quarantined' ELSE 'present' END,
    reason = (SELECT b.value ->> 1 FROM json_each(?2) b WHERE b.value ->> 0 = files.key)
WHERE task_id = ?1
  AND state <> 'accepted' -- those are no input
  AND generation <= ?3 -- not a version that was registered meanwhile
  AND (state <> 'present' OR key IN (SELECT b.value ->> 0 FROM json_each(?2) b)) -- most have nothing to change
