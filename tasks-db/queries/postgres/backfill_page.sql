-- Tasks of a stretch of time, in pages. $1 source, $2 from, $3 to, $4 and $5 the last chunk and task before this page, $6 most
SELECT task_id, data_chunk
FROM tasks
WHERE source = $1
  AND data_chunk >= $2
  AND data_chunk < $3
  AND (data_chunk, task_id) > ($4, $5)
  AND state <> 'parked' -- those need a retry
ORDER BY data_chunk, task_id
LIMIT $6
