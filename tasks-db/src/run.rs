//! Runs: one feature over one task.

use std::fmt;

use neartime_model::{ContentOrder, FeatureName, FeatureVersion, Generation, Instant, Span};

/// Failures after which a run is parked.
pub const MAX_RUN_ATTEMPTS: u32 = 8;

/// Claims that died under a run after which it is parked alone.
pub const MAX_CLAIMS_UNDER_RUN: u32 = 3;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunState {
    /// It has tries left.
    Waiting,
    /// It is published.
    Done,
    /// It ended because a higher version's rows were in place already.
    Superseded,
    /// It failed too often.
    Parked,
}

impl RunState {
    /// As the database writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Parked => "parked",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A run that a claim is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunToDo {
    /// The feature.
    pub feature: FeatureName,
    /// The version, the worker's own.
    pub version: FeatureVersion,
    /// How often it failed already on this input; the back-off grows with it.
    pub attempts: u32,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOutcome {
    /// The feature.
    pub feature: FeatureName,
    /// The version that ran.
    pub version: FeatureVersion,
    /// How it ended.
    pub end: RunEnd,
    /// What was left out, by reason: `key_too_long`, `null_entity`, …
    pub dropped: Vec<ReasonCount>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Published offline and online.
    Done {
        /// Rows of the file.
        rows: u64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// A higher version or generation was in place.
    Superseded {
        /// What was found.
        found: ContentOrder,
    },
    /// It failed: costs an attempt, and the eighth parks the run.
    Failed {
        /// What happened, for people.
        error: String,
        /// How long to wait before the next try.
        retry_after: Span,
    },
    /// A service was away: no verdict, costs nothing.
    Delayed {
        /// What was away, for people.
        note: String,
        /// How long to wait before the next try.
        retry_after: Span,
    },
}

/// How many, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// The reason, a short lower-case word.
    pub reason: String,
    /// How many, exactly.
    pub count: u64,
}

/// A run as `tasks show` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// The feature.
    pub feature: FeatureName,
    /// The version that ran last or is wanted.
    pub version: FeatureVersion,
    /// Where it stands.
    pub state: RunState,
    /// Failures on this input.
    pub attempts: u32,
    /// Claims that died under it.
    pub claims_without_verdict: u32,
    /// The generation that it ended on last; zero before its first end.
    pub done_generation: Generation,
    /// Not to be tried before; the epoch where there is no back-off.
    pub visible_at: Instant,
    /// Rows of its file; null before its first end.
    pub rows: Option<u64>,
    /// Bytes of its file; null before its first end.
    pub bytes: Option<u64>,
    /// What it left out, by reason.
    pub dropped: Vec<ReasonCount>,
    /// The last error, or what it was superseded by.
    pub error: Option<String>,
    /// When it ended last.
    pub ended_at: Option<Instant>,
}
