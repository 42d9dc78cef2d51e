-- Nobody else registers files of these paths until this transaction ends. $1 source, $2 paths (JSON)
SELECT pg_advisory_xact_lock(p.key)
FROM (
    SELECT DISTINCT hashtextextended('neartime path ' || $1 || ' ' || j.value, 0) AS key
    FROM jsonb_array_elements_text($2::jsonb) j
    ORDER BY key -- all in one order, so that nobody waits in a circle
) p
