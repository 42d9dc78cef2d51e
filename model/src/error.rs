//! What the caller of something that failed should do.

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
pub trait Classify: std::error::Error {
    /// What the caller should do.
    fn kind(&self) -> ErrorKind;
}
