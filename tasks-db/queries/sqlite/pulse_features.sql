-- How far each feature is, without counting what is done.
SELECT f.feature,
       nullif(max(coalesce(f.done_chunk, 0), coalesce(f.superseded_chunk, 0)), 0) AS newest_done_chunk,
       nullif(max(coalesce(f.done_chunk, 0), coalesce(f.superseded_chunk, 0)), 0) + s.width AS newest_done_end,
       coalesce(r.waiting, 0) AS waiting,
       coalesce(r.parked, 0) AS parked
FROM (
    SELECT feature,
           max(version),
           source, -- of that version
           (SELECT max(r.data_chunk) FROM runs r WHERE r.feature = d.feature AND r.state = 'done') AS done_chunk,
           (
               SELECT max(r.data_chunk) FROM runs r WHERE r.feature = d.feature AND r.state = 'superseded'
           ) AS superseded_chunk
    FROM features d
    GROUP BY feature
) f
LEFT JOIN sources s ON s.source = f.source
LEFT JOIN (
    SELECT feature,
           count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'parked') AS parked
    FROM runs INDEXED BY runs_unfinished
    WHERE state IN ('waiting', 'parked')
    GROUP BY feature
) r ON r.feature = f.feature
ORDER BY f.feature
