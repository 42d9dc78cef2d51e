-- Tasks that have something to retry. $1 tasks or an empty list (JSON), $2 source, $3 path, $4 from, $5 to, $6 now
SELECT t.task_id,
       EXISTS (
           SELECT 1 FROM files f WHERE f.task_id = t.task_id AND f.state IN ('missing', 'quarantined')
       ) AS input_changes
FROM tasks t
WHERE t.task_id IN (
    SELECT p.task_id FROM tasks p WHERE p.state = 'parked'
    UNION
    -- in back-off
    SELECT w.task_id FROM tasks w WHERE w.state = 'waiting' AND w.ts_to_process <= $6 AND w.due_at > $6
    UNION
    SELECT r.task_id FROM runs r WHERE r.state IN ('waiting', 'parked') AND (r.state = 'parked' OR r.attempts > 0)
    UNION
    SELECT f.task_id FROM files f WHERE f.state IN ('missing', 'quarantined')
)
  AND ($1 = '[]' OR t.task_id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb)))
  AND ($2 IS NULL OR t.source = $2)
  AND ($3 IS NULL OR t.file_path = $3)
  AND ($4 IS NULL OR t.data_chunk >= $4)
  AND ($5 IS NULL OR t.data_chunk < $5)
