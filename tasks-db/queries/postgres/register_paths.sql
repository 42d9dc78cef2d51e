-- Remembers the paths that files lie in. $1 source, $2 paths (JSON)
INSERT INTO paths (source, file_path)
SELECT $1, j.value
FROM jsonb_array_elements_text($2::jsonb) j
ORDER BY j.value
ON CONFLICT (source, file_path) DO NOTHING
