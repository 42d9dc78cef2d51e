//! What was refused while reading, and why.

use neartime_model::{FileKey, FilePath, Instant, SourceName};

use crate::{ReasonCount, TaskId};

/// Examples kept for each task and reason.
pub const MAX_EXAMPLES_PER_REASON: usize = 100;

/// Bytes of a line that an example keeps.
pub const MAX_EXAMPLE_BYTES: usize = 200;

/// What reading a task's input came to; replaces what the last reading of the task left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// Lines seen.
    pub lines: u64,
    /// Rows read, before any feature's filter.
    pub rows: u64,
    /// Files that were left out because they are broken. Each is one quarantine entry and one count by itself.
    pub quarantined_files: Vec<QuarantinedFile>,
    /// Exact counts by reason of lines and values, kept or not (rows outside their chunk and repeated ones too).
    pub counts: Vec<ReasonCount>,
    /// Examples in the order of the input; the first [`MAX_EXAMPLES_PER_REASON`] of each reason are kept.
    pub examples: Vec<QuarantineExample>,
}

/// A file that failed its checksum, its length or its decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedFile {
    /// Its key.
    pub key: FileKey,
    /// What is wrong with it.
    pub reason: String,
}

/// A line or a value that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineExample {
    /// The file.
    pub key: FileKey,
    /// The line, from 1; null for a whole file.
    pub line: Option<u64>,
    /// The column; null for a whole line.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
    /// The first [`MAX_EXAMPLE_BYTES`] of the line or value; longer text is cut.
    pub text: String,
}

/// A quarantine entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRow {
    /// Where the next page begins.
    pub cursor: QuarantineCursor,
    /// The source.
    pub source: SourceName,
    /// The task's path.
    pub file_path: FilePath,
    /// The task's chunk.
    pub data_chunk: Instant,
    /// What was refused.
    pub entry: QuarantineExample,
}

/// A place in the list of quarantine entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuarantineCursor {
    /// The task.
    pub task: TaskId,
    /// The number of the entry within its task.
    pub entry: i64,
}

/// Which quarantine entries to list: by task, then in the order of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineQuery {
    /// Only those of this source.
    pub source: Option<SourceName>,
    /// Only those of this task.
    pub task: Option<TaskId>,
    /// Only those after this place.
    pub after: Option<QuarantineCursor>,
    /// At most so many.
    pub limit: u32,
}
