-- The four counts by plain joins. All data lie within `alive` of the instant, so that each (user, item) has one run.
with segs as (
    select id, item as segment, min(min_ts) as first_ts from read_parquet($segments) group by all
), vis as (
    select id, item as site, min(min_ts) as first_ts from read_parquet($sites) group by all
), grp as (
    select id as segment, "group" as segment_group from read_csv($groups, header = true, all_varchar = true)
), segment_users as (
    select segment, count(*) as segment_users from segs group by all
), group_users as (
    select segment_group, count(distinct id) as group_users from segs join grp using (segment) group by all
), segment_site as (
    select site, segment, count(*) as segment_site_users
    from segs join vis on segs.id = vis.id and segs.first_ts < vis.first_ts group by all
), group_first as (
    select id, segment_group, min(first_ts) as first_ts from segs join grp using (segment) group by all
), group_site as (
    select site, segment_group, count(*) as group_site_users
    from group_first join vis on group_first.id = vis.id and group_first.first_ts < vis.first_ts group by all
)
select site, segment_group, segment, segment_users, group_users, coalesce(segment_site_users, 0) as segment_site_users,
       group_site_users
from group_site join grp using (segment_group) join segment_users using (segment) join group_users using (segment_group)
     left join segment_site using (site, segment)
