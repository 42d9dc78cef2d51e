-- The input of a task: the newest version of each key, broken and missing ones too, as they may be back. $1 task
SELECT key, version, size
FROM files
WHERE task_id = $1
  AND state <> 'accepted' -- gone, and an operator said so
ORDER BY key
