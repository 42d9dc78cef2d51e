-- Makes tasks, or arms them again: their input has changed. $1 source, $2 tasks (JSON [[file_path, source_bucket,
-- data_chunk, width, ts_to_process, number of file versions], …])
INSERT INTO tasks AS t (
    path_id, source, source_bucket, file_path, data_chunk, width, ts_to_process, state, lane, due_at, generation
)
SELECT p.path_id, $1, j.value ->> 1, j.value ->> 0, (j.value ->> 2)::bigint, (j.value ->> 3)::bigint,
       (j.value ->> 4)::bigint, 'waiting', 'fresh', (j.value ->> 4)::bigint, (j.value ->> 5)::bigint
FROM jsonb_array_elements($2::jsonb) j
JOIN paths p ON p.source = $1 AND p.file_path = j.value ->> 0
ORDER BY p.path_id, 5
ON CONFLICT (path_id, data_chunk) DO UPDATE
SET generation = t.generation + excluded.generation, -- a running claim sees it when it ends
    source_bucket = excluded.source_bucket,
    ts_to_process = excluded.ts_to_process,
    lane = 'fresh', -- also out of a backfill
    state = CASE t.state WHEN 'running' THEN 'running' ELSE 'waiting' END,
    due_at = CASE t.state WHEN 'running' THEN NULL ELSE excluded.ts_to_process END, -- past: due at once
    claims_without_verdict = CASE t.state WHEN 'running' THEN t.claims_without_verdict ELSE 0 END
RETURNING t.task_id, t.file_path, t.data_chunk, t.generation
