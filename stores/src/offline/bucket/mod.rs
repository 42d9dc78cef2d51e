//! Publishing into a bucket: staged in a local file, then put whole if what is there is still what was found.
//!
//! Compare-and-swap alone keeps publishers apart; there is no lock. A put whose answer was lost comes back as changed by
//! ourselves: the caller compares again, finds its own order in place, and puts the same bytes once more.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::directory::DirectoryPublisher;
use super::footer::Footer;
use super::{ConditionalPut, Publisher, Put, PutCondition, PutOutcome, Staged};
use crate::StoreError;

/// How often a put is tried that lost to another one that was under way.
const BUSY_ATTEMPTS: u32 = 6;
/// How long it waits after the first; each time twice as long.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// Publishes below a prefix of a bucket.
#[derive(Debug)]
pub(crate) struct BucketPublisher {
    puts: Arc<dyn ConditionalPut>,
    prefix: Path,
    /// Stages files, and sweeps those of processes that are gone.
    staging: DirectoryPublisher,
}

/// What became of a put that was waited for.
enum Waited {
    Done,
    Changed,
}

impl BucketPublisher {
    /// Stages in the folder `staging`, which is made if it is not there.
    pub(crate) fn new(puts: Arc<dyn ConditionalPut>, prefix: Path, staging: PathBuf) -> Self {
        // Nothing is ever locked there.
        Self { puts, prefix, staging: DirectoryPublisher::new(staging, Duration::ZERO) }
    }

    fn location(&self, key: &Path) -> Path {
        self.prefix.parts().chain(key.parts()).collect()
    }

    /// Puts, and tries again while another put of the same object is under way.
    async fn put_file(
        &self,
        file: &FsPath,
        key: &Path,
        condition: PutCondition<'_>,
        metadata: &[(&str, String)],
    ) -> Result<Waited, StoreError> {
        let location = self.location(key);
        let mut wait = BUSY_WAIT;
        for _ in 0..BUSY_ATTEMPTS {
            match self.puts.put_file(file, &location, condition, metadata).await? {
                PutOutcome::Done => return Ok(Waited::Done),
                PutOutcome::Changed => return Ok(Waited::Changed),
                PutOutcome::Busy => tokio::time::sleep(wait).await,
            }
            wait *= 2;
        }
        Err(StoreError::unavailable(
            format!("putting {location}"),
            "other writers of the same object keep coming first",
        ))
    }
}

#[async_trait]
impl Publisher for BucketPublisher {
    /// A bucket has no folders.
    async fn prepare(&self, _key: &Path) -> Result<(), StoreError> {
        Ok(())
    }

    async fn stage(&self, _key: &Path) -> Result<Box<dyn Staged>, StoreError> {
        // One flat folder: the key says nothing about this machine.
        self.staging.stage(&Path::from("staged")).await
    }

    async fn lock(&self, _key: &Path) -> Result<Arc<dyn Any + Send + Sync>, StoreError> {
        Ok(Arc::new(()))
    }

    async fn put(&self, staged: Box<dyn Staged>, key: &Path, found: Option<&ObjectMeta>) -> Result<Put, StoreError> {
        let condition = match found {
            Some(found) => PutCondition::Version(version_of(found)?),
            None => PutCondition::Absent,
        };
        let path = staged.path();
        let metadata = Footer::of_file(&path).map(|footer| footer.as_object_metadata()).unwrap_or_default();
        match self.put_file(&path, key, condition, &metadata).await? {
            Waited::Done => Ok(Put::Done),
            Waited::Changed => Ok(Put::Changed(staged)),
        }
    }

    /// Puts nothing in its place, conditionally: few stores know a conditional delete, and one without would take away
    /// what somebody else has just put there.
    async fn remove(&self, key: &Path, found: &ObjectMeta) -> Result<(), StoreError> {
        let empty = self.stage(key).await?;
        self.put_file(&empty.path(), key, PutCondition::Version(version_of(found)?), &[]).await?;
        Ok(())
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        self.staging.sweep().await
    }
}

fn version_of(found: &ObjectMeta) -> Result<&str, StoreError> {
    let tag = found.e_tag.as_deref();
    tag.ok_or_else(|| StoreError::broken_rule(format!("the store gives {} no etag", found.location)))
}
