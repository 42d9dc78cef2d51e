//! What the caller of something that failed should do.

use std::error::Error;
use std::fmt;

/// The kinds of error, named by what the caller should do. Every crate's errors tell theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A service is unreachable, throttles or refuses us: wait and try again. It is no verdict on the input or the
    /// feature: it costs no attempt and parks nothing. A verb that cannot wait ends with exit code 3.
    Unavailable,
    /// A person must change the configuration, the SQL or the command line: exit code 2.
    Invalid,
    /// A verdict: the same input would fail again. Costs an attempt; exit code 4.
    Failed,
}

/// An error that tells its kind.
pub trait Classify: Error {
    /// What the caller should do.
    fn kind(&self) -> ErrorKind;
}

/// An error on its way through something that knows no kinds, a query plan say: it keeps its kind.
///
/// Shows itself, and its causes, as the error that it is.
#[derive(Debug)]
pub struct Classified {
    kind: ErrorKind,
    error: Box<dyn Error + Send + Sync>,
}

impl Classified {
    /// The error, and the kind that it tells.
    pub fn new(error: impl Classify + Send + Sync + 'static) -> Self {
        Self { kind: error.kind(), error: Box::new(error) }
    }
}

impl Classify for Classified {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Classified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Classified {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// A file is another one by now, or gone, that was found a moment ago: look again what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} was replaced while it was read")]
pub struct FileChanged {
    /// Its name, as people know it.
    pub file: String,
}
