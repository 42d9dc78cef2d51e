//! Why a read failed, by what is to be done about it.

use std::collections::{BTreeMap, BTreeSet};

use neartime_model::{Classify, ErrorKind, FileKey, FileVersion};

use super::{InputFile, Reader};

/// Why a read failed; none of its rows count.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file's content is of another version by now: register it and claim again.
    #[error("read `{key}`: its content has changed; the version there now is {found}")]
    Changed {
        /// The file.
        key: FileKey,
        /// The version that is there.
        found: FileVersion,
        /// Its size in bytes, as stored.
        size: u64,
    },
    /// The files are not there any more.
    #[error("read files that are gone: {}", keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "))]
    Gone {
        /// All of the read that are gone.
        keys: BTreeSet<FileKey>,
    },
    /// What these files hold cannot be what was once written: try again, then go on without them.
    #[error("read files that are broken: {}", listed(files))]
    Broken {
        /// All of the read that are broken, and what is wrong with each.
        files: BTreeMap<FileKey, String>,
    },
    /// The location cannot be reached, or refuses us: try later.
    #[error("read `{key}`: its location cannot be reached or refuses us")]
    Unavailable {
        /// The file.
        key: FileKey,
        /// What the location said.
        #[source]
        cause: object_store::Error,
    },
    /// The source has no such column.
    #[error("read the column `{column}`: the source has no such column")]
    UnknownColumn {
        /// What was asked for.
        column: String,
    },
    /// Nobody waits for the rows any more.
    #[error("the read was cancelled")]
    Cancelled,
    /// Sorting out repeated events failed.
    #[error("keep one row for each value of the source's unique column")]
    Unique(#[source] datafusion::error::DataFusionError),
    /// This machine could not do its part.
    #[error("could not {what}")]
    Failed {
        /// What it could not do.
        what: String,
    },
}

impl Classify for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } | Self::Cancelled => ErrorKind::Unavailable,
            Self::UnknownColumn { .. } => ErrorKind::Invalid,
            Self::Changed { .. } | Self::Gone { .. } | Self::Broken { .. } => ErrorKind::Failed,
            Self::Unique(_) | Self::Failed { .. } => ErrorKind::Failed,
        }
    }
}

impl ReadError {
    /// One file is broken.
    pub(crate) fn broken(key: &FileKey, reason: String) -> Self {
        Self::Broken { files: BTreeMap::from([(key.clone(), reason)]) }
    }
}

fn listed(files: &BTreeMap<FileKey, String>) -> String {
    files.iter().map(|(key, reason)| format!("`{key}` ({reason})")).collect::<Vec<_>>().join(", ")
}

impl InputFile {
    pub(super) fn broken(&self, reason: String) -> ReadError {
        ReadError::broken(&self.key, reason)
    }
}

impl Reader {
    /// What it means that the location answered with `error`.
    ///
    /// A location that is away as a whole answers "not found" too: only then is a file not gone.
    pub(super) fn failed(&self, file: &InputFile, error: object_store::Error) -> ReadError {
        let key = file.key.clone();
        match error {
            object_store::Error::NotFound { .. } => match self.wait(self.location().check()) {
                Ok(Ok(())) => ReadError::Gone { keys: BTreeSet::from([key]) },
                Ok(Err(cause)) => ReadError::Unavailable { key, cause },
                Err(cancelled) => cancelled,
            },
            cause => ReadError::Unavailable { key, cause },
        }
    }
}
