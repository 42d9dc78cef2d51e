//! What can go wrong with the task database.

use std::error::Error;

use neartime_model::{Classify, ErrorKind};

use crate::{ShardId, StreamId, TaskId};

/// A call to the task database that failed.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// Another claim holds the task, or it is no longer running: whatever was computed under this lease must be dropped.
    #[error(
        "the lease on task {task} was lost: another claim took it over, or it has ended already; drop what was computed"
    )]
    LeaseLost {
        /// The task.
        task: TaskId,
    },

    /// Another claim holds the cron job.
    #[error("the lease on cron job `{name}` was lost: another process took it over")]
    CronLeaseLost {
        /// The cron job's name.
        name: String,
    },

    /// Another claim holds the shard, or it is finished or forgotten: whatever was read and not registered must be
    /// dropped.
    #[error("the lease on shard {shard} of stream {stream} was lost: another worker reads it; drop what was read")]
    ShardLeaseLost {
        /// The stream.
        stream: StreamId,
        /// The shard.
        shard: ShardId,
    },

    /// What is asked for contradicts what is stored: a person must change the configuration or the command line.
    #[error("{0}")]
    Refused(String),

    /// The database cannot be reached, is busy, or its clock is off: wait and try again.
    #[error("could not {doing} in the task database; is it there, and is there room on its disk?")]
    Unavailable {
        /// What was attempted.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// Another process holds the file of the database: wait and try again.
    #[error("could not {doing} in the task database: another process holds its file locked")]
    Locked {
        /// What was attempted.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The server of the task database was not reached, or does not let us in.
    #[error("could not connect to the Postgres server {address} of the task database; is it there, and may we log in?")]
    Unreachable {
        /// Host, port and database.
        address: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The fence that a claim would get lies far ahead of this machine's clock: one of the two clocks is wrong.
    #[error(
        "the task database's clock or its last fence is {ahead} ahead of this machine's clock; set both clocks right"
    )]
    ClockAhead {
        /// How far the fence is ahead.
        ahead: neartime_model::Span,
    },

    /// This machine's clock and the database's are far apart: one of them is wrong.
    #[error("this machine's clock is {} the task database's; set both clocks right", beside(*apart))]
    ClockApart {
        /// The database's clock less this machine's.
        apart: neartime_model::Span,
    },

    /// The database answered something that it must not: it is damaged, or was changed by hand.
    #[error("could not {doing} in the task database")]
    Broken {
        /// What was attempted.
        doing: &'static str,
        /// What is wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Where this machine's clock stands, to the second.
fn beside(apart: neartime_model::Span) -> String {
    let secs = apart.as_micros() / 1_000_000;
    let span = neartime_model::Span::from_secs(secs.abs());
    if secs < 0 { format!("{span} ahead of") } else { format!("{span} behind") }
}

impl TasksError {
    /// Whether the caller must stop working on what it had claimed.
    pub fn is_lease_lost(&self) -> bool {
        matches!(self, Self::LeaseLost { .. } | Self::CronLeaseLost { .. } | Self::ShardLeaseLost { .. })
    }
}

impl Classify for TasksError {
    /// A lost lease is no verdict on the input, so it counts as unavailable.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::LeaseLost { .. }
            | Self::CronLeaseLost { .. }
            | Self::ShardLeaseLost { .. }
            | Self::Unavailable { .. }
            | Self::Locked { .. }
            | Self::Unreachable { .. }
            | Self::ClockAhead { .. }
            | Self::ClockApart { .. } => ErrorKind::Unavailable,
            Self::Refused(_) => ErrorKind::Invalid,
            Self::Broken { .. } => ErrorKind::Failed,
        }
    }
}

/// What a call to the task database gives.
pub type Result<T> = std::result::Result<T, TasksError>;
