//! What neartime asks of Amazon Web Services: S3, SQS and Kinesis.
//!
//! One chain of settings and credentials ([`Aws::connect`]) gives the clients: a bucket as an
//! [`ObjectStore`](object_store::ObjectStore) with conditional puts of whole files, a queue and a stream behind the
//! traits of `neartime_ingest::channel`, and what `neartime source setup` prints or applies. Nothing here knows tasks,
//! features or the configuration file. Any server that speaks the same protocols will do.
//!
//! **Invariant:** no secret is in a `Debug`, an error or a log line; errors name the bucket, queue or stream and the
//! action that was refused.

#![warn(missing_docs)]

mod connect;
mod home;
mod kinesis;
mod s3;
mod said;
mod setup;
mod sqs;
#[cfg(test)]
mod testing;

pub use connect::{Aws, AwsSettings, ConnectError};
pub use kinesis::KinesisStream;
pub use s3::{Condition, FilePut, S3Store};
pub use setup::{InvalidSetup, Setup, SetupError, SetupPlan, SetupRequest};
pub use sqs::SqsQueue;
