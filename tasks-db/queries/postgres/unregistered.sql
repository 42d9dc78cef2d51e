-- Which keys were never registered. $1 source, $2 keys (JSON); gives their places in the list
SELECT j.place - 1 AS place
FROM jsonb_array_elements_text($2::jsonb) WITH ORDINALITY j (key, place)
WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.source = $1 AND f.key = j.key)
ORDER BY j.place
