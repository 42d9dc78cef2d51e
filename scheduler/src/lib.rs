//! The loop of neartime: discover → register → claim → read → compute → publish offline → publish online → complete.
//!
//! The scheduler names no feature, no database and no store: it is handed [`Edges`] by `main` and by the tests, and
//! decides what happens next. [`Scheduler::run`] is the daemon, [`Scheduler::run_once`] processes what is due now.
//!
//! **Invariants:** every write about a task shows the fence of its claim; work on a claim whose lease may have run out
//! stops by itself; a service that is away is no verdict on anybody's input.

mod backoff;
mod compute;
mod compute_threads;
mod cron;
mod daemon;
mod discovery;
mod edges;
mod fanout;
mod heartbeat;
mod home;
mod observer;
mod once;
mod queues;
mod rebuild;
mod run;
mod step;
mod streams;
mod sweep;
mod task;
#[cfg(test)]
mod testing;
mod worker;

pub use backoff::Backoff;
pub use cron::{CronJob, Job};
pub use daemon::Scheduler;
pub use discovery::Discovered;
pub use edges::{Carries, Edges, QueueWork, Settings, SourceWork, StreamWork};
pub use observer::{
    Channel, Event, Observer, QueueOutcome, ReadCounts, Release, RunEnded, ShardLabel, Step, TaskLabel, Unobserved,
};
pub use once::{OnceError, Summary};
pub use rebuild::RebuildError;
pub use sweep::RegisteredFiles;
