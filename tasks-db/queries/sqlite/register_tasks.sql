-- Makes tasks, or arms them again: their input has changed. ?1 source, ?2 tasks (JSON [[file_path, source_bucket,
-- data_chunk, width, ts_to_process, number of file versions], …])
INSERT INTO tasks (
    path_id, source, source_bucket, file_path, data_chunk, width, ts_to_process, state, lane, due_at, generation
)
SELECT p.path_id, ?1, j.value ->> 1, j.value ->> 0, j.value ->> 2, j.value ->> 3, j.value ->> 4, 'waiting', 'fresh',
       j.value ->> 4, j.value ->> 5
FROM json_each(?2) j
JOIN paths p ON p.source = ?1 AND p.file_path = j.value ->> 0
WHERE true
ON CONFLICT (path_id, data_chunk) DO UPDATE
SET generation = generation + excluded.generation, -- a running claim sees it when it ends
    source_bucket = excluded.source_bucket,
    ts_to_process = excluded.ts_to_process,
    lane = 'fresh', -- also out of a backfill
    state = CASE state WHEN 'running' THEN 'running' ELSE 'waiting' END,
    due_at = CASE state WHEN 'running' THEN NULL ELSE excluded.ts_to_process END, -- past: due at once
    claims_without_verdict = CASE state WHEN 'running' THEN claims_without_verdict ELSE 0 END
RETURNING task_id, file_path, data_chunk, generation
