-- Which keys were never registered. ?1 source, ?2 keys (JSON); gives their places in the list
SELECT j.key AS place
FROM json_each(?2) j
WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.source = ?1 AND f.key = j.value)
ORDER BY j.key
