//! Why a feature does not run.

use std::error::Error;

use neartime_model::{Classify, ErrorKind};

use crate::{InvalidSqlFeature, SchemaMismatch};

/// A feature that cannot run over a source.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its source is configured without columns that it reads: the feature is off, and the rest of the system is well.
    #[error(
        "feature `{feature}` is off: source `{events}` has no column {}; add it to [source.columns]",
        quoted(.missing)
    )]
    Off {
        /// The feature.
        feature: String,
        /// The source.
        events: String,
        /// The columns that it lacks.
        missing: Vec<String>,
    },
    /// It does not yield what its engine asks for.
    #[error("feature `{feature}` does not fit its engine")]
    Mismatch {
        /// The feature.
        feature: String,
        /// Both schemas.
        #[source]
        mismatch: SchemaMismatch,
    },
    /// Its table of the configuration is at fault; names the feature and the key.
    #[error(transparent)]
    Sql(InvalidSqlFeature),
    /// It cannot be planned, or breaks a rule of features.
    #[error("feature `{feature}` cannot run over source `{events}`")]
    Invalid {
        /// The feature.
        feature: String,
        /// The source.
        events: String,
        /// What is wrong, and what to do.
        #[source]
        reason: Box<dyn Error + Send + Sync>,
    },
}

impl Classify for Refused {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// `` `a`, `b` ``
pub(crate) fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
