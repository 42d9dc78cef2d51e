-- Which of these files are news. $1 source, $2 files (JSON [[key, version], …]); gives their places in the list
SELECT j.place - 1 AS place
FROM jsonb_array_elements($2::jsonb) WITH ORDINALITY j (value, place)
LEFT JOIN files f ON f.source = $1 AND f.key = j.value ->> 0
WHERE f.version IS NULL -- a new key
   OR f.version <> j.value ->> 1 -- another content
   OR f.state IN ('missing', 'accepted') -- it was gone, and is back
ORDER BY j.place
