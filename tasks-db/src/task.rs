//! Tasks and the claims on them.

use std::fmt;
use std::str::FromStr;

use neartime_model::{
    Chunk, FeatureName, FeatureVersion, Fence, FileKey, FilePath, Generation, Instant, SourceName, Span,
};

use crate::{InputFile, RunToDo};

/// Claims without a verdict after which the next claim parks the task instead.
pub const MAX_CLAIMS_WITHOUT_VERDICT: u32 = 8;

/// Claims without a verdict after which features run one at a time.
pub const ISOLATE_AFTER_CLAIMS: u32 = 2;

/// A row of the task table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub i64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// It will be claimed once it is due.
    Waiting,
    /// A claim holds it.
    Running,
    /// Every run has ended, also where some are parked.
    Done,
    /// It needs a person: its input cannot be read, or too many claims ended without a verdict.
    Parked,
}

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Running, Self::Done, Self::Parked];

    /// As the database and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Parked => "parked",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TaskState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no task state: write waiting, running, done or parked"))
    }
}

/// Which of the two queues of a path a task stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// New or changed input.
    Fresh,
    /// Old input that a backfill wants again.
    Backfill,
}

impl Lane {
    /// As the database writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Backfill => "backfill",
        }
    }
}

/// The right to write about a task, until another claim gets a higher fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// The claim's fence.
    pub fence: Fence,
}

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The worker's name, for people only.
    pub worker: String,
    /// The sources that it can read, each with the features that it can run.
    pub sources: Vec<WorkerSource>,
    /// How long the claim is held without a heartbeat.
    pub lease: Span,
}

/// A source and the features that this binary runs over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSource {
    /// The source.
    pub name: SourceName,
    /// Its features at the versions that this binary has.
    pub features: Vec<(FeatureName, FeatureVersion)>,
}

/// A due task, taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What every later write must show.
    pub lease: Lease,
    /// The task's source.
    pub source: SourceName,
    /// The bucket or directory as written.
    pub source_bucket: String,
    /// The path.
    pub file_path: FilePath,
    /// The chunk.
    pub chunk: Chunk,
    /// When it became due.
    pub ts_to_process: Instant,
    /// The generation of the input that follows.
    pub generation: Generation,
    /// The newest version of each key, sorted by key; accepted gaps are left out. May be empty.
    pub files: Vec<InputFile>,
    /// The runs to do, sorted by feature. Never empty for a task that [`Claims::claim`](crate::Claims::claim) gave;
    /// empty where [`Claims::hold`](crate::Claims::hold) did.
    pub runs: Vec<RunToDo>,
    /// Earlier claims died: the features must run one at a time, each announced by
    /// [`Claims::start_run`](crate::Claims::start_run) and ended by [`Claims::finish_run`](crate::Claims::finish_run).
    pub isolate: bool,
    /// An earlier claim's lease ran out.
    pub taken_over: bool,
    /// Earlier claims of this input that ended without a verdict.
    pub claims_without_verdict: u32,
    /// Which lane it came from.
    pub lane: Lane,
    /// When the lease ends, by the database's clock.
    pub lease_until: Instant,
}

/// Why a task is parked by its worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parking {
    /// What is wrong and what to do, for people.
    pub error: String,
    /// Files that are gone although this generation contains them.
    pub missing: Vec<FileKey>,
}

/// How a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The task's state now.
    pub state: TaskState,
    /// The input changed meanwhile, so that the task is due again.
    pub input_moved: bool,
    /// When it is due next; null unless waiting.
    pub due_at: Option<Instant>,
}
