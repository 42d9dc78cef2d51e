-- The roles and databases of a fleet, run once by an administrator: psql -v ON_ERROR_STOP=1 -f postgres.sql
-- Then give each role a password: \password neartime_owner, …

create role neartime_owner login;    -- makes the tables: `neartime check`, at first and for a release that adds to them
create role neartime login;          -- the fleet; needs no DDL
create role neartime_reader login;   -- people: tasks list, dashboards
create role neartime_reports login;  -- the report
-- Of a managed service even the administrator gives things to those only whose member he is.
grant neartime_owner, neartime_reports to current_user;

create database neartime owner neartime_owner;
\connect neartime
-- Before PostgreSQL 15 a database's owner does not own the schema in it, and everybody may write there.
alter schema public owner to neartime_owner;
revoke all on schema public from public;
grant usage on schema public to neartime, neartime_reader;
alter default privileges for role neartime_owner in schema public
    grant select, insert, update, delete on tables to neartime;
alter default privileges for role neartime_owner in schema public
    grant select, usage on sequences to neartime;
alter default privileges for role neartime_owner in schema public
    grant select on tables to neartime_reader;
alter default privileges for role neartime_owner in schema public
    grant select on sequences to neartime_reader;

-- The report is published by swapping tables: its role owns its database and nothing else.
create database reports owner neartime_reports;
\connect reports
alter schema public owner to neartime_reports;
revoke all on schema public from public;
