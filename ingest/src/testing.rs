//! What the tests of several modules share.

use std::path::Path;
use std::sync::Arc;

use object_store::memory::InMemory;

use crate::lines::ReadBytes;
use crate::location::Location;
use crate::read::ReadError;

/// A bucket in memory.
pub(crate) fn memory(store: Arc<InMemory>) -> Location {
    Location::bucket("s3://raw", store).unwrap()
}

/// A directory.
pub(crate) fn directory(path: &Path) -> Location {
    Location::directory("raw", path).unwrap()
}

/// Bytes in memory.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl ReadBytes for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let (now, later) = self.0.split_at(self.0.len().min(out.len()));
        out[..now.len()].copy_from_slice(now);
        self.0 = later;
        Ok(now.len())
    }
}
