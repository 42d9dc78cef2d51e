//! What can go wrong in a store, named by what the caller should do.

use datafusion::error::DataFusionError;
use neartime_model::{Classify, ErrorKind};

/// The cause of an error, as it came from a library or the operating system.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is away, full, or refuses us: wait and try again.
    #[error("{attempted}")]
    Unavailable {
        /// What was attempted, on what.
        attempted: String,
        /// What stood in the way.
        #[source]
        cause: Cause,
    },
    /// A person asked for something that cannot be: SQL, a window, a table of another shape.
    #[error("{problem}")]
    Invalid {
        /// What is wrong and what to do.
        problem: String,
        /// Where it was found, if a library found it.
        #[source]
        cause: Option<Cause>,
    },
    /// The same call on the same input would fail again.
    #[error("{attempted}")]
    Failed {
        /// What was attempted, on what.
        attempted: String,
        /// What stood in the way.
        #[source]
        cause: Option<Cause>,
    },
    /// The rows that were to be published broke off: the error is the computation's, not the store's.
    #[error("computing the rows failed")]
    Rows(#[source] DataFusionError),
}

impl StoreError {
    pub(crate) fn unavailable(attempted: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Unavailable { attempted: attempted.into(), cause: cause.into() }
    }

    pub(crate) fn invalid(problem: impl Into<String>) -> Self {
        Self::Invalid { problem: problem.into(), cause: None }
    }

    pub(crate) fn failed(attempted: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Failed { attempted: attempted.into(), cause: Some(cause.into()) }
    }

    pub(crate) fn broken_rule(problem: impl Into<String>) -> Self {
        Self::Failed { attempted: problem.into(), cause: None }
    }

    /// The error of this crate that DataFusion carried through a stream or a plan; else DataFusion's own.
    pub(crate) fn carried_by(error: DataFusionError) -> Result<Self, DataFusionError> {
        match error {
            DataFusionError::External(cause) => cause.downcast().map(|error| *error).map_err(DataFusionError::External),
            error => Err(error),
        }
    }
}

impl Classify for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Failed { .. } | Self::Rows(_) => ErrorKind::Failed,
        }
    }
}
