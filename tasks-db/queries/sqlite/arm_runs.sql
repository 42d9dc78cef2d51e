-- Wants a feature again on these tasks. ?1 tasks (JSON), ?2 feature, ?3 version
INSERT INTO runs (task_id, data_chunk, feature, version, state)
SELECT t.task_id, t.data_chunk, ?2, ?3, 'waiting'
FROM json_each(?1) j
JOIN tasks t ON t.task_id = j.value
WHERE true
ON CONFLICT (task_id, feature) DO UPDATE
SET state = 'waiting',
    version = excluded.version,
    attempts = 0,
    visible_at = 0,
    claims_without_verdict = 0
