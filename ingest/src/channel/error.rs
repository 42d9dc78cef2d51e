//! What can go wrong with a channel.

use std::error::Error;

use neartime_model::{Classify, ErrorKind};

/// A call to a queue or a stream that failed, after the client's own retries.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The service asks for fewer requests: wait longer than usual.
    #[error("could not {doing}: the service throttles us")]
    Throttled {
        /// What was attempted, and on what.
        doing: String,
        /// What the service said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The service cannot be reached or refuses us: wait and try again, or let a person see.
    #[error("could not {doing}: {reason}")]
    Unavailable {
        /// What was attempted, and on what.
        doing: String,
        /// What is missing or refused, and what to do.
        reason: String,
        /// What the service said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Classify for ChannelError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}
