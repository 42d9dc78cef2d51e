-- Remembers new files, and new versions of known ones. ?1 source, ?2 files (JSON [[key, version, size, task,
-- generation], …]), ?3 now
INSERT INTO files (source, key, version, size, task_id, generation, state, registered_at)
SELECT ?1, j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, 'present', ?3
FROM json_each(?2) j
WHERE true
ON CONFLICT (source, key) DO UPDATE
SET version = excluded.version,
    size = excluded.size,
    task_id = excluded.task_id,
    generation = excluded.generation,
    state = 'present',
    registered_at = excluded.registered_at,
    reason = NULL
