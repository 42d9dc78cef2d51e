//! What an operator orders.

use neartime_model::{FeatureName, FeatureVersion, FilePath, Instant, SourceName};

use crate::TaskId;

/// Which tasks to retry, of those that have something to retry: parked, in back-off, with a parked or failing run,
/// or with missing or quarantined files. All conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryRequest {
    /// Only these tasks; empty for any.
    pub tasks: Vec<TaskId>,
    /// Only those of this source.
    pub source: Option<SourceName>,
    /// Only those of this path.
    pub file_path: Option<FilePath>,
    /// Only chunks that start at or after this instant.
    pub from: Option<Instant>,
    /// Only chunks that start before this instant.
    pub to: Option<Instant>,
    /// Files that are missing are given up: the task goes on without them.
    pub accept_missing: bool,
}

/// Which old tasks a feature is to run on again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillRequest {
    /// The feature, declared before.
    pub feature: FeatureName,
    /// Its version, this binary's own.
    pub version: FeatureVersion,
    /// The source that it reads.
    pub source: SourceName,
    /// Chunks that start at or after this instant.
    pub from: Instant,
    /// Chunks that start before this instant.
    pub to: Instant,
}
