//! What passes of discovery have seen: where the next one may begin.

use std::collections::HashMap;

use neartime_model::{ChunkWidth, FilePath, Instant, Span};

use super::Found;

/// The newest day that was seen of each path of a source. Kept in memory between passes; an empty one makes the next
/// pass look at everything.
#[derive(Clone, Debug, Default)]
pub struct Seen(HashMap<FilePath, Instant>);

impl Seen {
    /// Notes files, once they are registered.
    pub fn note<'f>(&mut self, files: impl IntoIterator<Item = &'f Found>) {
        for file in files {
            let day = day_of(file.chunk.start());
            match self.0.get_mut(&file.path) {
                Some(newest) => *newest = day.max(*newest),
                None => drop(self.0.insert(file.path.clone(), day)),
            }
        }
    }

    /// The first midnight of the newest seen day of `path`, if the path was ever seen.
    pub fn newest_day(&self, path: &FilePath) -> Option<Instant> {
        self.0.get(path).copied()
    }

    /// Where a pass begins on `path`; `None` for a path never seen.
    pub(super) fn cutoff(&self, path: &FilePath, look_back: Span, now: Instant) -> Option<Instant> {
        Some(self.newest_day(path)?.min(day_of(now)) - look_back)
    }
}

fn day_of(instant: Instant) -> Instant {
    ChunkWidth::DAY.chunk_of(instant).start()
}
