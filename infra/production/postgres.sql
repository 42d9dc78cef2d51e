-- Two roles on the task database, run once by its owner: psql -v ON_ERROR_STOP=1 -f postgres.sql
-- `neartime check` and the first start make the tables; they need the owner. Workers need no DDL.

create role neartime_owner login;   -- migrations: neartime check, the first start of a new release
create role neartime login;         -- the fleet
create role neartime_reader login;  -- people: tasks list, dashboards

create database neartime owner neartime_owner;
\connect neartime
revoke all on schema public from public;
grant usage on schema public to neartime, neartime_reader;
alter default privileges for role neartime_owner in schema public
    grant select, insert, update, delete on tables to neartime;
alter default privileges for role neartime_owner in schema public
    grant usage on sequences to neartime;
alter default privileges for role neartime_owner in schema public
    grant select on tables to neartime_reader;

-- The report is published by swapping tables: its role owns its schema and nothing else.
create role neartime_reports login;
create database reports owner neartime_reports;
