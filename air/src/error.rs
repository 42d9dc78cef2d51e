//! What can go wrong, named by what the caller should do.

use std::path::{Path, PathBuf};

use neartime_model::{Classify, ErrorKind, Fence};

/// The cause behind an [`AirError`].
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a report could not be made, published or shown.
#[derive(Debug, thiserror::Error)]
pub enum AirError {
    /// The configuration, or a file that it names, must be changed.
    #[error("{0}")]
    Invalid(String),
    /// A file could not be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The bucket of the features store or of the user database did not answer, or refused.
    #[error("cannot {doing} `{key}` in the bucket")]
    Bucket {
        /// What was attempted.
        doing: &'static str,
        /// On which key or prefix.
        key: String,
        /// What the store says.
        #[source]
        source: object_store::Error,
    },
    /// A file of the features store cannot be read back.
    #[error("the features store's file `{path}` is damaged: remove it and run `neartime tasks retry` on its task")]
    DamagedFeature {
        /// The file, below the features store.
        path: String,
        /// What the reader says.
        #[source]
        source: Cause,
    },
    /// A file of the user database is damaged; it is made again from the features store.
    #[error("the user database's file `{}` is damaged: {reason}", path.display())]
    DamagedUdb {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file of the features store was replaced while it was being read, more often than it was read again.
    #[error("the features store kept changing while it was read: run the report again")]
    Unsettled,
    /// Another run has worked in the user database for longer than one waits.
    #[error("another report holds `{}`: wait for it to end", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The counting plan failed.
    #[error("cannot count the users of the report")]
    Count(#[source] datafusion::error::DataFusionError),
    /// Something that is never expected: a mistake in the program, or a file that a library cannot bear.
    #[error("making the report panicked: {text}")]
    Panicked {
        /// What the panic said.
        text: String,
    },
    /// The report's database did not answer, or stayed locked.
    #[error("cannot {doing} in the report's database")]
    Database {
        /// What was attempted.
        doing: &'static str,
        /// What the database says.
        #[source]
        source: sqlx::Error,
    },
    /// A stage table does not hold what was written to it.
    #[error("the staged report has {found} rows of {expected}: the old report stays")]
    Staged {
        /// Rows that were written.
        expected: u64,
        /// Rows that are there.
        found: u64,
    },
    /// A run with a newer fence has already published.
    #[error("a newer report (fence {live}) is live: the one with fence {mine} is not published")]
    Superseded {
        /// The fence of the report that is live.
        live: Fence,
        /// The fence of this run.
        mine: Fence,
    },
}

impl AirError {
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { doing, path: path.to_owned(), source }
    }

    pub(crate) fn bucket(doing: &'static str, key: &impl ToString) -> impl FnOnce(object_store::Error) -> Self {
        let key = key.to_string();
        move |source| Self::Bucket { doing, key, source }
    }

    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

impl Classify for AirError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Bucket { .. } | Self::Database { .. } | Self::Unsettled | Self::Busy { .. } => ErrorKind::Unavailable,
            Self::File { .. }
            | Self::DamagedFeature { .. }
            | Self::DamagedUdb { .. }
            | Self::Count(_)
            | Self::Panicked { .. }
            | Self::Staged { .. }
            | Self::Superseded { .. } => ErrorKind::Failed,
        }
    }
}
