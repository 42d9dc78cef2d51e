//! From the published file to the online table.

use futures::TryStreamExt;
use neartime_engine::OnlineLayout;
use neartime_model::Fence;

use super::OnlineStore;
use crate::offline::{PublishedFile, is_changed, key_schema, keys};
use crate::{FeaturesStore, PartitionFile, StoreError};

/// How often a publish starts again because the file was replaced while it was read.
const ATTEMPTS: usize = 10;

/// What an online publish wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnlinePublished {
    /// Rows sent to the store, which keeps newer ones of its own.
    pub rows: u64,
    /// Keys deleted.
    pub deleted: u64,
}

/// Writes the published file's rows to the online store at `fence`, then deletes there the keys that vanished from it,
/// then forgets their list. Idempotent; what it leaves undone when it dies, the next call does.
///
/// The rows are those of the file in place, whoever wrote it: a file of a higher order is as good or better. If there
/// is none, nothing is written, and `None` comes back.
///
/// # Errors
/// Unavailable if either store is away; Failed if the file is corrupt.
pub async fn publish_online(
    offline: &FeaturesStore,
    online: &dyn OnlineStore,
    file: &PartitionFile,
    fence: Fence,
) -> Result<Option<OnlinePublished>, StoreError> {
    let mut attempt = 1;
    loop {
        let Some(published) = offline.open(file).await? else { return Ok(None) };
        match publish_version(offline, online, file, fence, &published).await {
            Err(error) if is_changed(&error) && attempt < ATTEMPTS => attempt += 1,
            done => return done.map(Some),
        }
    }
}

async fn publish_version(
    offline: &FeaturesStore,
    online: &dyn OnlineStore,
    file: &PartitionFile,
    fence: Fence,
    published: &PublishedFile,
) -> Result<OnlinePublished, StoreError> {
    let mut done = OnlinePublished::default();
    let mut batches = published.batches(&file.table.output.arrow())?;
    while let Some(batch) = batches.try_next().await? {
        done.rows += batch.num_rows() as u64;
        online.write(file, fence, batch).await?;
    }
    if file.table.online == OnlineLayout::Latest {
        return Ok(done);
    }
    let Some(list) = offline.vanished(file).await? else { return Ok(done) };
    // A later claim listed them: at this fence the deletes would lose against rows written since, and the list with them.
    if list.fence().is_some_and(|listed| listed > fence) {
        return Ok(done);
    }
    // The list may name keys that the file has again.
    let schema = key_schema(&file.table);
    let mut gone = keys::difference(schema.clone(), list.keys(&schema)?, published.keys(&schema)?);
    while let Some(batch) = gone.try_next().await? {
        done.deleted += batch.num_rows() as u64;
        online.delete(file, fence, batch).await?;
    }
    offline.forget_vanished(file, published, &list).await?;
    Ok(done)
}
