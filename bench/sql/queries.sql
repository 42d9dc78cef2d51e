-- Each runs unchanged in neartime and in DuckDB. The first is the seed's.
select brand, country, count(distinct(id)) cnt from features_store.device_last_browse where year='2018' and month = '08' and day = '20' group by 1,2 order by 3 desc, 2;
select count(*) n from features_store.user_num_posts;
select brand, country, sum(actions_count) posts from features_store.user_num_posts group by 1, 2 order by 3 desc, 2;
select day, sum(actions_count) posts, count(distinct id) users from features_store.user_num_posts group by 1 order by 1;
select hour, ten_mins, count(*) n from features_store.device_last_browse where day in ('03', '17') group by 1, 2 order by 1, 2;
select id, country, sum(actions_count) posts from features_store.user_num_posts group by 1, 2 order by 3 desc, 1, 2 limit 20;
select country, max(last_action_timestamp) latest from features_store.user_last_login where month = '08' and hour = '10' group by 1 order by 1;
select count(distinct id) devices from features_store.device_last_browse where day between '10' and '16';
select p.country, count(distinct p.id) users from features_store.user_num_posts p join features_store.user_last_login l on l.id = p.id and l.country = p.country and l.day = p.day where p.day in ('20', '21') group by 1 order by 1;
select day, hour, ten_mins, sum(actions_count) posts from features_store.user_num_posts where id = '%ID%' group by 1, 2, 3 order by 1, 2, 3;
