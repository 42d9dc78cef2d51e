//! Sweeping files of the reservoir that were put and never registered: their worker died in between.

use async_trait::async_trait;
use futures::TryStreamExt;
use neartime_model::{Classified, FileKey, Instant, Span};
use object_store::{ObjectMeta, ObjectStoreExt};

use super::names::Reservoir;
use super::put::ReservoirError;

/// How old a file is before it can be swept: longer than anybody can be between putting and registering.
pub const SWEPT_AFTER: Span = Span::from_days(7);
/// Files that are asked about at once.
const BATCH_FILES: usize = 1_000;

/// Knows which files are registered.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Those of `keys`, files of the source, that were never registered.
    async fn never_registered(&self, keys: &[FileKey]) -> Result<Vec<FileKey>, Classified>;
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files old enough to be asked about.
    pub old: u64,
    /// Files that were removed.
    pub removed: u64,
}

/// Removes the files that have the names of the reservoir, are older than [`SWEPT_AFTER`] at `now`, and were never
/// registered. Lists the whole location: once a day is enough.
pub async fn sweep(reservoir: &Reservoir, now: Instant, ledger: &dyn Ledger) -> Result<Swept, ReservoirError> {
    let location = &reservoir.source().location;
    let failed = |doing, key: &FileKey, cause| ReservoirError::Unavailable {
        doing,
        key: key.clone(),
        location: location.to_string(),
        cause: Box::new(cause),
    };
    let nothing = FileKey::new("");
    let (mut swept, mut batch) = (Swept::default(), Vec::new());
    let prefix = location.path_below("");
    let mut objects = location.store().list(Some(&prefix));
    loop {
        let object = objects.try_next().await.map_err(|cause| failed("list", &nothing, cause))?;
        let ended = object.is_none();
        batch.extend(object.and_then(|object| old_file(reservoir, &object, now)));
        if batch.len() < BATCH_FILES && !ended {
            continue;
        }
        swept.old += batch.len() as u64;
        for key in ledger.never_registered(&batch).await.map_err(ReservoirError::Ledger)? {
            let removed = location.store().delete(&location.object_path(&key)).await;
            removed.map_err(|cause| failed("remove", &key, cause))?;
            tracing::info!(%key, source_name = %reservoir.source().name, "removed a file that was never registered");
            swept.removed += 1;
        }
        batch.clear();
        if ended {
            return Ok(swept);
        }
    }
}

fn old_file(reservoir: &Reservoir, object: &ObjectMeta, now: Instant) -> Option<FileKey> {
    if modified_at(object) >= now - SWEPT_AFTER {
        return None;
    }
    let key = reservoir.source().location.key_of(&object.location)?;
    reservoir.source().layout.match_key(&key)?;
    Some(FileKey::new(key))
}

pub(super) fn modified_at(object: &ObjectMeta) -> Instant {
    Instant::from_micros(object.last_modified.timestamp_micros())
}
