-- Takes the due task whose turn it is, in one round trip, unless something about it is out of the ordinary: then the caller
-- goes the long way. $1 the worker's sources and features (JSON {source: [[feature, version], …]}), $2 now, null for this
-- database's clock, $3 length of the lease in microseconds, $4 worker, $5 latest fence that the worker's clock allows,
-- $6 most claims without a verdict
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT coalesce($2, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now,
           -- A claim that the server forgets in a crash cannot write any more: no need to wait for the disk.
           set_config('synchronous_commit', 'off', true) AS at_once
),
busy (path_id) AS (
    -- as in claim_path.sql
    SELECT min(path_id) FROM tasks WHERE state IN ('waiting', 'running')
    UNION ALL
    SELECT (
        SELECT min(t.path_id)
        FROM tasks t
        WHERE t.path_id > busy.path_id
          AND t.state IN ('waiting', 'running')
    )
    FROM busy
    WHERE busy.path_id IS NOT NULL
),
turn AS MATERIALIZED (
    SELECT p.path_id, p.served
    FROM busy
    JOIN paths p ON p.path_id = busy.path_id
    WHERE $1::jsonb ? p.source -- the worker can read it
      AND EXISTS (
          SELECT 1
          FROM tasks t
          WHERE t.path_id = p.path_id
            AND t.state IN ('waiting', 'running')
            AND coalesce(t.lease, t.due_at) <= (SELECT now FROM clock) -- due, or its lease ran out
      )
),
path AS MATERIALIZED (
    SELECT p.path_id,
           CASE WHEN p.claims % 4 = 3 THEN 'backfill' ELSE 'fresh' END AS lane,
           CASE WHEN p.claims % 4 = 3 THEN 'fresh' ELSE 'backfill' END AS other_lane
    FROM turn
    JOIN paths p ON p.path_id = turn.path_id AND p.served = turn.served -- nobody had this turn meanwhile
    ORDER BY turn.served, turn.path_id -- served longest ago
    LIMIT 1
    FOR NO KEY UPDATE OF p SKIP LOCKED
),
oldest AS MATERIALIZED (
    SELECT t.task_id, t.state, t.generation, t.fence, t.claims_without_verdict
    FROM tasks t
    WHERE t.path_id = (SELECT path_id FROM path)
      AND t.lane = (SELECT lane FROM path)
      AND t.state IN ('waiting', 'running')
      AND coalesce(t.lease, t.due_at) <= (SELECT now FROM clock)
    ORDER BY t.data_chunk
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED
),
other AS MATERIALIZED (
    SELECT t.task_id, t.state, t.generation, t.fence, t.claims_without_verdict
    FROM tasks t
    WHERE NOT EXISTS (SELECT 1 FROM oldest)
      AND t.path_id = (SELECT path_id FROM path)
      AND t.lane = (SELECT other_lane FROM path)
      AND t.state IN ('waiting', 'running')
      AND coalesce(t.lease, t.due_at) <= (SELECT now FROM clock)
    ORDER BY t.data_chunk
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED
),
taken AS (
    UPDATE tasks t
    SET state = 'running',
        due_at = NULL,
        lease = clock.now + $3,
        worker = $4,
        fence = greatest(t.fence + 1, clock.now), -- grows even where the clock stands still or steps back
        claimed_generation = t.generation,
        claims_without_verdict = t.claims_without_verdict + 1
    FROM clock, (SELECT * FROM oldest UNION ALL SELECT * FROM other) c
    JOIN tasks seen ON seen.task_id = c.task_id
    WHERE t.task_id = c.task_id
      AND seen.generation = c.generation -- so that the files, which are seen as of the statement's start, are all
      AND c.state = 'waiting' -- no claim died
      AND c.claims_without_verdict < $6
      AND greatest(c.fence + 1, clock.now) <= $5
    RETURNING t.*
),
served AS (
    UPDATE paths p
    SET served = nextval('claim_turns'),
        claims = p.claims + 1
    FROM taken
    WHERE p.path_id = taken.path_id
),
known AS (
    INSERT INTO runs AS r (task_id, data_chunk, feature, version, state, fence)
    SELECT taken.task_id, taken.data_chunk, f.value ->> 0, (f.value ->> 1)::bigint, 'waiting', taken.fence
    FROM taken, jsonb_array_elements($1::jsonb -> taken.source) f
    ON CONFLICT (task_id, feature) DO UPDATE
    -- as in claim_runs.sql
    SET state = CASE WHEN excluded.version > r.version THEN 'waiting' ELSE r.state END,
        attempts = CASE WHEN excluded.version > r.version THEN 0 ELSE r.attempts END,
        visible_at = CASE WHEN excluded.version > r.version THEN 0 ELSE r.visible_at END,
        claims_without_verdict = CASE WHEN excluded.version > r.version THEN 0 ELSE r.claims_without_verdict END,
        version = greatest(r.version, excluded.version),
        fence = CASE
            WHEN excluded.version < r.version
                AND r.state = 'waiting'
                AND r.done_generation >= (SELECT generation FROM taken) THEN r.fence
            ELSE excluded.fence
        END
    RETURNING r.feature, r.state, r.attempts, r.visible_at, r.fence
)
SELECT clock.now,
       EXISTS (SELECT 1 FROM turn) AS is_due,
       EXISTS (SELECT 1 FROM path) AS has_turn,
       t.task_id,
       t.source,
       t.source_bucket,
       t.file_path,
       t.data_chunk,
       t.width,
       t.ts_to_process,
       t.lane,
       t.lease,
       t.fence,
       t.generation,
       t.claims_without_verdict,
       t.held_state,
       (
           SELECT coalesce(json_agg(json_build_array(f.key, f.version, f.size) ORDER BY f.key), '[]')::text
           FROM files f
           WHERE f.task_id = t.task_id
             AND f.state <> 'accepted'
       ) AS files,
       (SELECT coalesce(json_agg(known), '[]')::text FROM known) AS runs
FROM clock
LEFT JOIN taken t ON true
