-- Wants a feature again on these tasks. ?1 tasks (JSON), ?2 feature, ?3 version
INSERT INTO runs (task_id, data_chunk, feature, version, state)
SELECT t.task_id, t.data_chunk, ?2, ?3, 'waiting'
FROM json_each(?1) j
JOIN tasks t ON t.task_id = j.value
WHERE true
ON CONFLICT (task_id, feature) DO UPDATE
SET state = 'waiting',
    version = excluded.version,
    -- one that is waiting already goes on counting its tries
    attempts = CASE WHEN state = 'waiting' AND version = excluded.version THEN attempts ELSE 0 END,
    visible_at = CASE WHEN state = 'waiting' AND version = excluded.version THEN visible_at ELSE 0 END,
    claims_without_verdict = CASE
        WHEN state = 'waiting' AND version = excluded.version THEN claims_without_verdict
        ELSE 0
    END
