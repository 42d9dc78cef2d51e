-- Every feature that was ever declared, and what became of its runs.
SELECT f.feature,
       f.newest,
       r.newest_done_chunk,
       r.newest_done_chunk + s.width AS newest_done_end,
       coalesce(r.rows, 0) AS rows,
       coalesce(r.done, 0) AS done,
       coalesce(r.waiting, 0) AS waiting,
       coalesce(r.parked, 0) AS parked
FROM (SELECT feature, max(version) AS newest, source FROM features GROUP BY feature) f
LEFT JOIN sources s ON s.source = f.source
LEFT JOIN (
    SELECT feature,
           max(CASE WHEN state IN ('done', 'superseded') THEN data_chunk END) AS newest_done_chunk,
           sum(rows) AS rows,
           sum(state IN ('done', 'superseded')) AS done,
           sum(state = 'waiting') AS waiting,
           sum(state = 'parked') AS parked
    FROM runs
    GROUP BY feature
) r ON r.feature = f.feature
ORDER BY f.feature
