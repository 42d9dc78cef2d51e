//! What becomes of a shard's records.

use async_trait::async_trait;
use neartime_ingest::Found;
use neartime_ingest::channel::{Page, Place};

use super::StreamError;

/// Takes records in, and says what is done with.
#[async_trait]
pub(super) trait Intake: Send {
    /// Takes a page in.
    async fn take(&mut self, page: &Page) -> Result<Taken, StreamError>;

    /// What is done with since the last call, if it is time to write it down; with `all`, whatever was taken in.
    async fn done(&mut self, all: bool) -> Result<Option<Done>, StreamError>;

    /// Whether something was taken in that is not done with.
    fn holds(&self) -> bool;
}

/// How a page's records fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) taken: u64,
    /// They tell of nothing of ours.
    pub(super) ignored: u64,
    /// They are not understood.
    pub(super) refused: u64,
}

/// What can be written: everything up to the place is in the files, or tells of nothing.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) place: Place,
    pub(super) files: Vec<Found>,
}
