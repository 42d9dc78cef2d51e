//! On real servers: Postgres, Cassandra, and moto for S3, SQS and Kinesis. Skipped where the environment names none.

mod bucket;
mod end_to_end;
mod faults;
mod operations;
mod refusals;
mod roles;
mod streams;
mod tools;
