-- Wants a feature again on these tasks. $1 tasks (JSON), $2 feature, $3 version
INSERT INTO runs AS r (task_id, data_chunk, feature, version, state)
SELECT t.task_id, t.data_chunk, $2, $3, 'waiting'
FROM jsonb_array_elements_text($1::jsonb) j
JOIN tasks t ON t.task_id = j.value::bigint
ON CONFLICT (task_id, feature) DO UPDATE
SET state = 'waiting',
    version = excluded.version,
    -- one that is waiting already goes on counting its tries
    attempts = CASE WHEN r.state = 'waiting' AND r.version = excluded.version THEN r.attempts ELSE 0 END,
    visible_at = CASE WHEN r.state = 'waiting' AND r.version = excluded.version THEN r.visible_at ELSE 0 END,
    claims_without_verdict = CASE
        WHEN r.state = 'waiting' AND r.version = excluded.version THEN r.claims_without_verdict
        ELSE 0
    END
