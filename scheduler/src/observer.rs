//! What happens, told to whoever draws progress or counts metrics.

use std::fmt;
use std::time::Duration;

use neartime_model::{Chunk, ErrorKind, FeatureName, FileKey, FilePath, SourceName};

/// Something that happened to a chunk, a run or a source.
#[derive(Debug, Clone)]
pub enum Event {
    /// A pass over a source's location ended.
    Discovered {
        /// The source.
        source: SourceName,
        /// Files whose names fit the layout.
        matched: u64,
        /// File versions that were not known before.
        registered: u64,
    },
    /// A worker took a task.
    Claimed(TaskLabel),
    /// One feature's rows of a chunk are published.
    Published {
        /// The task.
        task: TaskLabel,
        /// The feature.
        feature: FeatureName,
        /// Rows in its Parquet file.
        rows: u64,
    },
    /// A run ended with an error of its own.
    RunFailed {
        /// The task.
        task: TaskLabel,
        /// The feature.
        feature: FeatureName,
        /// What it said.
        error: String,
        /// Whether it was its last try.
        parked: bool,
    },
    /// A whole file was left out of a chunk.
    FileQuarantined {
        /// The task.
        task: TaskLabel,
        /// The file.
        key: FileKey,
        /// What is wrong with it.
        reason: String,
    },
    /// A task ended with a verdict.
    Completed {
        /// The task.
        task: TaskLabel,
        /// What became of it.
        state: &'static str,
        /// Lines read.
        lines: u64,
        /// Lines and values that were refused.
        refused: u64,
        /// From the claim to the end.
        took: Duration,
    },
    /// A task was given back without a verdict.
    Released {
        /// The task.
        task: TaskLabel,
        /// Why.
        reason: String,
        /// Whether a service was away (and not, say, the worker asked to stop).
        kind: Option<ErrorKind>,
    },
}

/// The words that name a task to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLabel {
    /// The source.
    pub source: SourceName,
    /// The path.
    pub path: FilePath,
    /// The chunk.
    pub chunk: Chunk,
}

impl fmt::Display for TaskLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.source, self.path, self.chunk.start())
    }
}

/// Is told every [`Event`], from any thread; must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &Event);
}

/// Looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Event) {}
}
