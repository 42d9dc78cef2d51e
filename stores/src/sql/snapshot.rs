//! The versions that one query has seen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use neartime_model::FileChanged;
use object_store::ObjectMeta;
use object_store::path::Path;

/// Holds a query to one version of each file: a table that is listed twice (a self-join) must not be seen in two
/// versions, and a file that is replaced before it is read must not be read.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    versions: Mutex<HashMap<Path, Option<String>>>,
    changed: Arc<AtomicBool>,
}

impl Snapshot {
    /// Remembers the listed version of a file, or tells that another was listed before.
    pub(super) fn pin(&self, meta: &ObjectMeta) -> Result<(), FileChanged> {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let pinned = versions.entry(meta.location.clone()).or_insert_with(|| meta.e_tag.clone());
        if *pinned == meta.e_tag {
            return Ok(());
        }
        self.changed.store(true, Ordering::Relaxed);
        Err(FileChanged { file: meta.location.to_string() })
    }

    /// Set by the readers of the files too.
    pub(super) fn changed(&self) -> &Arc<AtomicBool> {
        &self.changed
    }
}
