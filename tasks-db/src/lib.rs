//! The task table: which chunk of which path is due, who works on it, and what became of it.
//!
//! Everything that survives a crash of the scheduler is here: files and their versions, tasks and their generations,
//! claims with their fences, runs with their attempts, the quarantine, how far streams were read, and the cron jobs.
//! The crate knows nothing of how a chunk is read or computed.
//!
//! A database is used through the traits of this crate ([`TasksDb`] is all of them in one); [`Tasks`] has them all, in a
//! SQLite file or on a Postgres server. Every statement stands in files of its own under `queries/`, a twin for each;
//! every backend passes the suite in [`contract`].
//!
//! **Invariant:** only the database's clock decides what is due or expired.
//! **Invariant:** a claim's fence is higher than every earlier fence of its task, and no write of a lower one counts.

#![warn(missing_docs)]

pub mod contract;
mod cron;
mod declare;
mod error;
mod intake;
mod look;
mod operate;
#[cfg(feature = "postgres")]
mod postgres;
mod quarantine;
mod run;
mod sqlite;
mod streams;
mod tables;
mod task;
mod traits;

pub use cron::{CronDeclaration, CronEnd, CronLease, CronRequest, CronRow};
pub use declare::{ColumnDeclaration, FeatureDeclaration, KnownFeature, SourceDeclaration};
pub use error::{Result, TasksError};
pub use intake::{DueRule, FileRegistration, FileRow, FileState, InputFile, Registered, Registration};
pub use look::{FeaturePulse, FeatureStanding, Pulse, SourcePulse, TaskCursor, TaskDetail, TaskQuery, TaskRow};
pub use operate::{BackfillRequest, RetryRequest};
#[cfg(feature = "postgres")]
pub use postgres::PostgresOptions;
pub use quarantine::{
    MAX_EXAMPLE_BYTES, MAX_EXAMPLES_PER_REASON, QuarantineCursor, QuarantineExample, QuarantineQuery, QuarantineRow,
    QuarantinedFile, ReadSummary,
};
pub use run::{MAX_CLAIMS_UNDER_RUN, MAX_RUN_ATTEMPTS, ReasonCount, RunEnd, RunOutcome, RunRow, RunState, RunToDo};
pub use sqlite::SqliteOptions;
pub use streams::{
    Checkpoint, InitialPosition, Position, ReadFrom, ShardClaim, ShardDeclaration, ShardId, ShardLease, ShardRequest,
    ShardRow, StreamId,
};
pub use tables::{DbClock, Tasks};
pub use task::{
    Claim, ClaimRequest, Ended, ISOLATE_AFTER_CLAIMS, Lane, Lease, MAX_CLAIMS_WITHOUT_VERDICT, Parking, TaskId,
    TaskState, WorkerSource,
};
pub use traits::{
    Claims, CronJobs, Heart, HeartSource, Intake, Look, MAX_CLOCKS_APART, Operate, Streams, TasksDb, check_clock,
};
