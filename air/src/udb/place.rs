//! Where the user database lies, and how workers share it through a bucket.
//!
//! A report is made in a folder of the worker's own. With a bucket, that folder is a copy: before a report it becomes
//! what `current` in the bucket lists, if that is not what it is already, and after a report `current` lists what the
//! folder holds.
//!
//! ```text
//! <prefix>/<fingerprint>/current         fence, and for each file its object and size; replaced by a conditional put
//! <prefix>/<fingerprint>/days/…          snapshots and copies of recent chunks: never changed once they are there
//! <prefix>/<fingerprint>/dictionary-…    as it was after the run of a fence; so is `state-…`
//! ```
//!
//! Whoever loses the race for `current` has made a report all the same, only nothing for the next one: its folder is
//! replaced then. All of it can be thrown away, in the bucket too.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;

/// Where the user database lies.
#[derive(Clone, Debug)]
pub struct UdbPlace {
    /// The folder in which reports are made, on a disk of this machine; made if need be.
    pub folder: PathBuf,
    /// Through which bucket, below which prefix, workers share it; `None` where one machine makes all reports.
    pub bucket: Option<(Arc<dyn ObjectStore>, Path)>,
}

impl UdbPlace {
    /// A folder that is not shared.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), bucket: None }
    }

    /// A folder that is a copy of what lies below `prefix` in a bucket.
    pub fn bucket(folder: impl Into<PathBuf>, objects: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { folder: folder.into(), bucket: Some((objects, prefix)) }
    }
}
