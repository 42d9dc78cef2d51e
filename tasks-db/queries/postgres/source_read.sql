-- What is known of a source, and whether it has tasks. $1 source
SELECT s.width, s.layout, EXISTS (SELECT 1 FROM paths p WHERE p.source = s.source) AS has_tasks
FROM sources s
WHERE s.source = $1
