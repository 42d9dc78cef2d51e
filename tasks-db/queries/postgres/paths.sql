-- $1 source
SELECT p.file_path, (SELECT max(t.data_chunk) FROM tasks t WHERE t.path_id = p.path_id) AS newest_chunk
FROM paths p
WHERE p.source = $1
ORDER BY p.file_path
