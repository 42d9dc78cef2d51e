//! Files of users as a source to merge.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::snapshot::Snapshot;
use super::users_file::UsersFile;
use crate::error::AirError;
use crate::merge::{Block, Source};

/// Records of so many bytes make a block.
const BLOCK_BYTES: u64 = 96 << 10;

/// A file, and steps of its index.
type Place = (Arc<UsersFile>, Range<usize>);

type Files = Box<dyn Iterator<Item = Result<Arc<UsersFile>, AirError>> + Send>;

/// Files each of which goes on where the one before ends.
pub(crate) struct UsersSource {
    files: Files,
    file: Option<Arc<UsersFile>>,
    /// The step of its index with which the next block begins.
    step: usize,
}

impl UsersSource {
    /// Of some files.
    pub(crate) fn new(files: Vec<Arc<UsersFile>>) -> Self {
        Self { files: Box::new(files.into_iter().map(Ok)), file: None, step: 0 }
    }

    /// Of a snapshot, whose parts are opened in turn.
    pub(crate) fn of_snapshot(snapshot: &Arc<Snapshot>) -> Self {
        let snapshot = Arc::clone(snapshot);
        let files = (0..snapshot.parts).map(move |part| snapshot.part(part));
        Self { files: Box::new(files), file: None, step: 0 }
    }

    /// Which steps of which file are the next block.
    fn next_steps(&mut self) -> Result<Option<Place>, AirError> {
        loop {
            if let Some(file) = &self.file {
                let steps = file.steps_from(self.step, BLOCK_BYTES)?;
                if !steps.is_empty() {
                    self.step = steps.end;
                    return Ok(Some((Arc::clone(file), steps)));
                }
            }
            let Some(file) = self.files.next().transpose()? else { return Ok(None) };
            (self.file, self.step) = (Some(file), 0);
        }
    }
}

impl Source for UsersSource {
    fn next(&mut self) -> Result<Option<Block>, AirError> {
        while let Some((file, steps)) = self.next_steps()? {
            let block = file.block(steps)?;
            if block.is_some() {
                return Ok(block);
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for UsersSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsersSource").field("file", &self.file).finish_non_exhaustive()
    }
}
