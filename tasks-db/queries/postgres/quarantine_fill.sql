-- What a reading quarantined: whole files, and examples of lines. $1 task, $2 entries (JSON [[key, line, column, reason,
-- text], …])
INSERT INTO quarantine (task_id, entry, key, line, "column", reason, text)
SELECT $1, e.place - 1, e.value ->> 0, (e.value ->> 1)::bigint, e.value ->> 2, e.value ->> 3, e.value ->> 4
FROM jsonb_array_elements($2::jsonb) WITH ORDINALITY e (value, place)
