//! Files of users as a source to merge.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::snapshot::Snapshot;
use super::users_file::UsersFile;
use crate::error::AirError;
use crate::merge::{Block, Source};

/// Records of so many bytes make a block.
const BLOCK_BYTES: u64 = 96 << 10;

/// A file, and a range of it.
type Place = (Arc<UsersFile>, Range<u64>);

type Files = Box<dyn Iterator<Item = Result<Arc<UsersFile>, AirError>> + Send>;

/// Files each of which goes on where the one before ends.
pub(crate) struct UsersSource {
    files: Files,
    file: Option<Arc<UsersFile>>,
    /// Places of the present file, in steps to be read; the first is where the next block begins.
    places: VecDeque<u64>,
}

impl UsersSource {
    /// Of some files.
    pub(crate) fn new(files: Vec<Arc<UsersFile>>) -> Self {
        Self { files: Box::new(files.into_iter().map(Ok)), file: None, places: VecDeque::new() }
    }

    /// Of a snapshot, whose parts are opened in turn.
    pub(crate) fn of_snapshot(snapshot: &Arc<Snapshot>) -> Self {
        let snapshot = Arc::clone(snapshot);
        let files = (0..snapshot.parts).map(move |part| snapshot.part(part));
        Self { files: Box::new(files), file: None, places: VecDeque::new() }
    }

    /// Where the next block lies in which file.
    fn next_place(&mut self) -> Result<Option<Place>, AirError> {
        loop {
            if let (Some(file), Some(begin)) = (&self.file, self.places.pop_front()) {
                let mut end = begin;
                while let Some(place) = self.places.front().copied()
                    && (end == begin || place - begin <= BLOCK_BYTES)
                {
                    end = place;
                    self.places.pop_front();
                }
                if end > begin {
                    // The next block begins where this one ends.
                    self.places.push_front(end);
                    return Ok(Some((Arc::clone(file), begin..end)));
                }
            }
            let Some(file) = self.files.next().transpose()? else { return Ok(None) };
            self.places = file.index()?.places().iter().copied().collect();
            self.file = Some(file);
        }
    }
}

impl Source for UsersSource {
    fn next(&mut self) -> Result<Option<Block>, AirError> {
        while let Some((file, range)) = self.next_place()? {
            let block = file.block(range)?;
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
