-- An absent filter is null. Suppressed rows have no number of users, so that a least number leaves them out.
SELECT site, site_name, segment, segment_name, segment_group, segment_users, group_users, segment_site_users,
       group_site_users, index_value, z_score, index_low, index_high, significant, suppressed
  FROM air_report
 WHERE ($1::text IS NULL OR site = $1 OR site_name = $1)
   AND ($2::text IS NULL OR segment_group = $2)
   AND ($3::bigint IS NULL OR segment_site_users >= $3)
 ORDER BY CASE $4::text WHEN 'index' THEN index_value WHEN 'users' THEN segment_site_users WHEN 'z' THEN z_score END
          DESC NULLS LAST,
          site, segment_group, index_value DESC NULLS LAST, segment
 LIMIT $5::bigint
