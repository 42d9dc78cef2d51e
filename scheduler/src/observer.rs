//! What happens, told to whoever draws progress or counts metrics.

use std::fmt;
use std::time::Duration;

use neartime_model::{Chunk, FeatureName, FileKey, FilePath, SourceName, Span};
use neartime_tasks_db::{ReasonCount, TaskState};

/// Something that happened to a chunk, a run or a source.
#[derive(Debug, Clone)]
pub enum Event {
    /// Sources and features are declared: discovery and work begin.
    Started,
    /// A channel registered what it found: a pass of listing ended, or a batch of messages or records.
    Discovered {
        /// The source.
        source: SourceName,
        /// How the files were found.
        channel: Channel,
        /// Files whose names fit the layout.
        matched: u64,
        /// File versions that were not known before.
        registered: u64,
    },
    /// A channel broke off; it is tried again.
    DiscoveryFailed {
        /// The source.
        source: SourceName,
        /// Which of its channels.
        channel: Channel,
        /// What went wrong.
        error: String,
    },
    /// A message of a queue was taken care of.
    Received {
        /// The queue's name.
        queue: String,
        /// What became of it.
        outcome: QueueOutcome,
    },
    /// A page of a stream was read, and what it tells is registered or kept to be written.
    Streamed {
        /// Which shard.
        shard: ShardLabel,
        /// Records that were taken in.
        taken: u64,
        /// Records that tell of nothing of ours.
        ignored: u64,
        /// Records that were not understood.
        refused: u64,
        /// How far reading is behind the newest record.
        behind: Option<Span>,
    },
    /// Records had left a stream before they were read.
    StreamGap {
        /// Which shard.
        shard: ShardLabel,
        /// Which records.
        gap: String,
    },
    /// This process no longer reads a shard.
    ShardLeft(ShardLabel),
    /// A worker took a task.
    Claimed {
        /// The task.
        task: TaskLabel,
        /// How long the task database needed for it.
        took: Duration,
    },
    /// A part of the work on a claim ended well.
    Stepped {
        /// The task.
        task: TaskLabel,
        /// Which part.
        step: Step,
        /// How long it took.
        took: Duration,
    },
    /// One feature's run over a chunk ended.
    RunEnded {
        /// The task.
        task: TaskLabel,
        /// The feature.
        feature: FeatureName,
        /// How.
        end: RunEnded,
        /// Rows that gave no output and values that became null, by reason.
        dropped: Vec<ReasonCount>,
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
        state: TaskState,
        /// What was read; all zero where nothing was.
        read: ReadCounts,
        /// From the claim to the end.
        took: Duration,
    },
    /// A task was given back, or left, without a verdict.
    Released {
        /// The task.
        task: TaskLabel,
        /// Why, in a word.
        cause: Release,
        /// Why, in a sentence.
        reason: String,
    },
}

/// A way to hear of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Listing the location.
    Listing,
    /// A queue of notifications.
    Queue,
    /// A stream, of keys or of events.
    Stream,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Listing, Self::Queue, Self::Stream];

    /// As logs and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Queue => "queue",
            Self::Stream => "stream",
        }
    }
}

/// What became of a queue's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueOutcome {
    /// What it tells is registered, and it is deleted.
    Registered,
    /// It tells of nothing new, a test for one, and is deleted.
    Ignored,
    /// It is not understood, and left to the dead-letter queue.
    Left,
}

impl QueueOutcome {
    /// As logs and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Ignored => "ignored",
            Self::Left => "left",
        }
    }
}

/// The words that name a shard to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLabel {
    /// The source.
    pub source: SourceName,
    /// The stream.
    pub stream: String,
    /// The shard.
    pub shard: String,
}

/// A part of the work on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The one read of a chunk, from the first fetch to the last batch. Features that are slow slow it down.
    Read,
    /// A feature, from the start of the read until its first row comes out: it overlaps the read.
    Compute,
    /// Writing a feature's Parquet file, from its first row on.
    PublishOffline,
    /// Writing a feature's rows online.
    PublishOnline,
    /// Ending the claim in the task database.
    Complete,
}

impl Step {
    /// As spans and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Compute => "compute",
            Self::PublishOffline => "publish_offline",
            Self::PublishOnline => "publish_online",
            Self::Complete => "complete",
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnded {
    /// Its rows are published.
    Done {
        /// Rows in its Parquet file.
        rows: u64,
    },
    /// A newer version's rows are in place.
    Superseded,
    /// An error of its own.
    Failed {
        /// What it said.
        error: String,
        /// Whether it was its last try.
        parked: bool,
    },
    /// A service is away; it is tried again at no cost.
    Delayed,
}

/// What the read of a chunk met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Lines read.
    pub lines: u64,
    /// Rows that features saw.
    pub rows: u64,
    /// Lines and values that were refused, by reason.
    pub refused: Vec<ReasonCount>,
    /// Rows that were only noticed, by reason.
    pub noted: Vec<ReasonCount>,
}

/// Why a claim ended without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// A service is away.
    ServiceAway,
    /// The process was asked to stop.
    Stopping,
    /// The work hung, panicked or failed for a reason that is nobody's; enough of these and the task is parked.
    NoVerdict,
    /// The lease was lost, or may have been: another claim does the work.
    LeaseLost,
}

impl Release {
    /// As logs and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAway => "service_away",
            Self::Stopping => "stopping",
            Self::NoVerdict => "no_verdict",
            Self::LeaseLost => "lease_lost",
        }
    }
}

/// The words that name a task to people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
