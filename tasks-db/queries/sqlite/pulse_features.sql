-- How far each feature is, without counting what is done.
SELECT f.feature,
       f.newest_done_chunk,
       f.newest_done_chunk + s.width AS newest_done_end,
       coalesce(r.waiting, 0) AS waiting,
       coalesce(r.parked, 0) AS parked
FROM (
    SELECT feature,
           max(version),
           source, -- of that version
           (
               -- each by its own index
               SELECT max(ended.data_chunk)
               FROM (
                   SELECT max(r.data_chunk) AS data_chunk FROM runs r WHERE r.feature = d.feature AND r.state = 'done'
                   UNION ALL
                   SELECT max(r.data_chunk) FROM runs r WHERE r.feature = d.feature AND r.state = 'superseded'
               ) ended
           ) AS newest_done_chunk
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
