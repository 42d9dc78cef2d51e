-- Makes the runs that the worker knows part of its claim. $1 task, $2 features of the worker (JSON [[name, version], …]),
-- $3 generation
INSERT INTO runs AS r (task_id, data_chunk, feature, version, state, fence)
SELECT t.task_id, t.data_chunk, f.value ->> 0, (f.value ->> 1)::bigint, 'waiting', t.fence
FROM tasks t, jsonb_array_elements($2::jsonb) f
WHERE t.task_id = $1
ON CONFLICT (task_id, feature) DO UPDATE
SET state = CASE WHEN excluded.version > r.version THEN 'waiting' ELSE r.state END,
    -- newer code has tries of its own
    attempts = CASE WHEN excluded.version > r.version THEN 0 ELSE r.attempts END,
    visible_at = CASE WHEN excluded.version > r.version THEN 0 ELSE r.visible_at END,
    claims_without_verdict = CASE WHEN excluded.version > r.version THEN 0 ELSE r.claims_without_verdict END,
    version = greatest(r.version, excluded.version),
    -- what a newer binary wants again of the same input is none of an older binary's business
    fence = CASE
        WHEN excluded.version < r.version AND r.state = 'waiting' AND r.done_generation >= $3 THEN r.fence
        ELSE excluded.fence
    END
RETURNING r.feature, r.state, r.attempts, r.visible_at, r.fence
