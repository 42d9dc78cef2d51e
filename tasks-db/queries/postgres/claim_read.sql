-- What a claim gives its worker. $1 task, $2 fence
SELECT task_id, source, source_bucket, file_path, data_chunk, width, ts_to_process, lane, lease, fence, generation,
       claims_without_verdict, held_state
FROM tasks
WHERE task_id = $1
  AND fence = $2 -- no later claim
  AND state = 'running'
