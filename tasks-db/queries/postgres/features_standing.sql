-- Every feature that was ever declared, and what became of its runs.
SELECT f.feature,
       f.newest,
       r.newest_done_chunk,
       r.newest_done_chunk + s.width AS newest_done_end,
       coalesce(r.rows, 0)::bigint AS rows,
       coalesce(r.done, 0) AS done,
       coalesce(r.waiting, 0) AS waiting,
       coalesce(r.parked, 0) AS parked
FROM (SELECT DISTINCT ON (feature) feature, version AS newest, source FROM features ORDER BY feature, version DESC) f
LEFT JOIN sources s ON s.source = f.source
LEFT JOIN (
    SELECT feature,
           max(data_chunk) FILTER (WHERE state IN ('done', 'superseded')) AS newest_done_chunk,
           sum(rows) AS rows,
           count(*) FILTER (WHERE state IN ('done', 'superseded')) AS done,
           count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'parked') AS parked
    FROM runs
    GROUP BY feature
) r ON r.feature = f.feature
ORDER BY f.feature
