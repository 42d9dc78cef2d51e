//! What people and metrics ask of the task table.

use neartime_model::{Chunk, FeatureName, FeatureVersion, Fence, FilePath, Generation, Instant, SourceName};

use crate::{FileRow, Lane, ReasonCount, RunRow, TaskId, TaskState};

/// A task as `tasks list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Its number.
    pub task: TaskId,
    /// Its source.
    pub source: SourceName,
    /// The bucket or directory as written.
    pub source_bucket: String,
    /// Its path.
    pub file_path: FilePath,
    /// Its chunk; the start is `data_chunk`.
    pub chunk: Chunk,
    /// When its chunk becomes due.
    pub ts_to_process: Instant,
    /// Where it stands.
    pub state: TaskState,
    /// Which lane it stands in.
    pub lane: Lane,
    /// When it can be claimed, back-off included; null unless waiting.
    pub due_at: Option<Instant>,
    /// When its lease ends; null unless running.
    pub lease: Option<Instant>,
    /// Who claimed it last.
    pub worker: Option<String>,
    /// The last claim's fence; zero before the first.
    pub fence: Fence,
    /// Changes of its input so far.
    pub generation: Generation,
    /// The generation that was completed last; zero before the first.
    pub done_generation: Generation,
    /// Claims that ended without a verdict, the present one included.
    pub claims_without_verdict: u32,
    /// Broken files that the last run went on without.
    pub quarantined_files: u64,
    /// Runs that are parked.
    pub parked_runs: u64,
    /// The last error or note, cut to 4 KiB.
    pub last_error: Option<String>,
}

/// Which tasks to list: oldest chunk first, then by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskQuery {
    /// Only those of this source.
    pub source: Option<SourceName>,
    /// Only those in this state; parked: also those of any other state that have a parked run.
    pub state: Option<TaskState>,
    /// Only those of this path.
    pub file_path: Option<FilePath>,
    /// Only chunks that start at or after this instant.
    pub from: Option<Instant>,
    /// Only chunks that start before this instant.
    pub to: Option<Instant>,
    /// Only those after this place.
    pub after: Option<TaskCursor>,
    /// At most so many.
    pub limit: u32,
}

impl Default for TaskQuery {
    /// Every task.
    fn default() -> Self {
        Self { source: None, state: None, file_path: None, from: None, to: None, after: None, limit: u32::MAX }
    }
}

/// A place in the list of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskCursor {
    /// The chunk's start.
    pub data_chunk: Instant,
    /// The task.
    pub task: TaskId,
}

impl TaskRow {
    /// Where the next page begins after this row.
    pub fn cursor(&self) -> TaskCursor {
        TaskCursor { data_chunk: self.chunk.start(), task: self.task }
    }
}

/// Everything about one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDetail {
    /// The row.
    pub task: TaskRow,
    /// Its files, sorted by key.
    pub files: Vec<FileRow>,
    /// Its runs, sorted by feature.
    pub runs: Vec<RunRow>,
    /// Lines of the last reading; null before the first.
    pub lines: Option<u64>,
    /// Rows of the last reading; null before the first.
    pub rows: Option<u64>,
    /// Exact counts by reason of the last reading.
    pub counts: Vec<ReasonCount>,
}

/// What a daemon says of itself every few seconds: it costs what is unfinished, not what is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// When it was taken, by the database's clock.
    pub at: Instant,
    /// Each source that has unfinished tasks, sorted by name.
    pub sources: Vec<SourcePulse>,
    /// Each feature that was ever declared, sorted by name.
    pub features: Vec<FeaturePulse>,
}

/// What stands unfinished in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePulse {
    /// The source.
    pub source: SourceName,
    /// Tasks that a worker could claim now.
    pub due: u64,
    /// Tasks that are not due yet, in back-off, or of a source that no feature was ever declared for.
    pub waiting: u64,
    /// Tasks that are claimed, also those whose lease ran out.
    pub running: u64,
    /// Tasks that need a person.
    pub parked: u64,
    /// Since when the longest due of those that a worker could claim has been due; null where none is.
    pub oldest_due_at: Option<Instant>,
}

/// How far a feature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeaturePulse {
    /// The feature.
    pub name: FeatureName,
    /// The start of its newest chunk that is done; null before the first.
    pub newest_done_chunk: Option<Instant>,
    /// The end of that chunk.
    pub newest_done_end: Option<Instant>,
    /// Runs with tries left.
    pub waiting: u64,
    /// Runs parked.
    pub parked: u64,
}

/// What became of a feature's runs so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureStanding {
    /// The feature.
    pub name: FeatureName,
    /// The highest version ever declared.
    pub newest: FeatureVersion,
    /// The start of its newest chunk that is done; null before the first.
    pub newest_done_chunk: Option<Instant>,
    /// The end of that chunk.
    pub newest_done_end: Option<Instant>,
    /// Rows of all its files.
    pub rows: u64,
    /// Runs done or superseded.
    pub done: u64,
    /// Runs with tries left.
    pub waiting: u64,
    /// Runs parked.
    pub parked: u64,
}
