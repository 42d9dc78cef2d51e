-- Remembers the paths that files lie in. ?1 source, ?2 paths (JSON)
INSERT INTO paths (source, file_path)
SELECT ?1, j.value
FROM json_each(?2) j
WHERE true
ON CONFLICT (source, file_path) DO NOTHING
