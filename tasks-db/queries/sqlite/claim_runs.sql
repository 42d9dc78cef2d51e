-- Makes the runs that the worker knows part of its claim. ?1 task, ?2 features of the worker (JSON [[name, version], …]),
-- ?3 generation
INSERT INTO runs (task_id, data_chunk, feature, version, state, fence)
SELECT t.task_id, t.data_chunk, f.value ->> 0, f.value ->> 1, 'waiting', t.fence
FROM tasks t, json_each(?2) f
WHERE t.task_id = ?1
ON CONFLICT (task_id, feature) DO UPDATE
SET state = CASE WHEN excluded.version > version THEN 'waiting' ELSE state END,
    -- newer code has tries of its own
    attempts = CASE WHEN excluded.version > version THEN 0 ELSE attempts END,
    visible_at = CASE WHEN excluded.version > version THEN 0 ELSE visible_at END,
    claims_without_verdict = CASE WHEN excluded.version > version THEN 0 ELSE claims_without_verdict END,
    version = max(version, excluded.version),
    -- what a newer binary wants again of the same input is none of an older binary's business
    fence = CASE
        WHEN excluded.version < version AND state = 'waiting' AND done_generation >= ?3 THEN fence
        ELSE excluded.fence
    END
RETURNING feature, state, attempts, visible_at, fence
