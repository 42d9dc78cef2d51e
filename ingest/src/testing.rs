//! What the tests of several modules share.

use std::path::Path;
use std::sync::Arc;

use object_store::memory::InMemory;

use crate::location::Location;

/// A bucket in memory.
pub(crate) fn memory(store: Arc<InMemory>) -> Location {
    Location::bucket("s3://raw", store).unwrap()
}

/// A directory.
pub(crate) fn directory(path: &Path) -> Location {
    Location::directory("raw", path).unwrap()
}
