//! The hidden list of keys that a run no longer has, and that are still to be deleted online.
//!
//! **Invariant:** every row key that may be live online for a chunk and path is in the published file or on the list
//! beside it, whatever step a process dies at. So the list is written before the file is replaced, only grows until an
//! online publish is through, and goes only if neither it nor the file was replaced meanwhile.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};
use neartime_model::{Fence, FileChanged};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::encode::{Layout, encode};
use super::keys::{self, KeyStream};
use super::published::PublishedFile;
use super::store::{key_schema, readable};
use super::{FeaturesStore, PartitionFile, Put, Staged, footer};
use crate::StoreError;

impl FeaturesStore {
    /// Adds to the hidden list the row keys that `in_place` has and `staged` has not.
    ///
    /// A key that is on the list already stays there even if the new file has it again: should this process die before
    /// the rename, the file in place still has it not. [`crate::publish_online`] leaves such keys out.
    pub(super) async fn list_vanished(
        &self,
        file: &PartitionFile,
        fence: Fence,
        in_place: &PublishedFile,
        staged: &dyn Staged,
    ) -> Result<(), StoreError> {
        let schema = key_schema(&file.table);
        let new = open_staged(staged).await?.keys(&schema)?;
        let old = until_corrupt(in_place.keys(&schema)?);
        let mut vanished = keys::difference(Arc::clone(&schema), old, new);
        let Some(first) = vanished.try_next().await? else { return Ok(()) };
        let vanished = stream::iter([Ok(first)]).chain(vanished).boxed();

        let list = file.vanished_key()?;
        let listed = self.head(&list).await?;
        let listed_file = match &listed {
            Some(meta) if is_forgotten(meta) => None,
            Some(meta) => readable(self.open_version(meta).await.map(Some))?,
            None => None,
        };
        let before = listed_file.as_ref().map_or_else(|| Ok(keys::none()), |file| file.keys(&schema))?;
        let fence = listed_file.and_then(|file| file.fence()).map_or(fence, |listed| listed.max(fence));
        let all = keys::union(Arc::clone(&schema), before, vanished);
        let layout = Layout { key_columns: schema.fields().len(), schema, metadata: footer::of_vanished(fence) };
        let staged = self.publisher.stage(&list).await?;
        encode(staged.path(), layout.clone(), as_rows(layout.schema, all)).await.map_err(of_keys)?;
        match self.publisher.put(staged, &list, listed.as_ref()).await? {
            Put::Done => Ok(()),
            // Where nothing is locked, somebody else may have: the caller compares again with what they wrote.
            Put::Changed(_) => {
                let changed = FileChanged { file: list.to_string() };
                Err(StoreError::unavailable(format!("writing {list}"), changed))
            }
        }
    }

    /// The row keys that are to be deleted online; `None` if there are none. The list is one version of one file too.
    pub(crate) async fn vanished(&self, file: &PartitionFile) -> Result<Option<PublishedFile>, StoreError> {
        readable(self.open_at(&file.vanished_key()?, |list| !is_forgotten(list)).await)
    }

    /// Removes the list after its keys were deleted online, if neither it nor the file was replaced meanwhile: the
    /// keys of a newer file's list are not deleted yet.
    pub(crate) async fn forget_vanished(
        &self,
        file: &PartitionFile,
        published: &PublishedFile,
        list: &PublishedFile,
    ) -> Result<(), StoreError> {
        let (key, list_key) = (file.key()?, file.vanished_key()?);
        let _lock = self.publisher.lock(&list_key).await?;
        let same = |now: Option<ObjectMeta>, then: &ObjectMeta| now.is_some_and(|now| now.e_tag == then.e_tag);
        let unchanged = same(self.head(&key).await?, published.version());
        if unchanged && same(self.head(&list_key).await?, list.version()) {
            self.publisher.remove(&list_key, list.version()).await?;
        }
        Ok(())
    }
}

/// Whether a list has been done with, in a store that does not remove it.
fn is_forgotten(list: &ObjectMeta) -> bool {
    list.size == 0
}

async fn open_staged(staged: &dyn Staged) -> Result<PublishedFile, StoreError> {
    let path = staged.path();
    let location = Path::from_absolute_path(&path);
    let location = location.map_err(|error| StoreError::failed(format!("naming {}", path.display()), error))?;
    let local: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
    let meta = local.head(&location).await;
    let meta = meta.map_err(|error| StoreError::unavailable(format!("looking at {}", path.display()), error))?;
    PublishedFile::open(local, meta).await
}

/// The keys up to where the file turns out to be corrupt: those behind cannot be known any more.
fn until_corrupt(keys: KeyStream) -> KeyStream {
    let readable = keys.take_while(|batch| {
        let corrupt = matches!(batch, Err(StoreError::Failed { .. }));
        if let Err(error) = batch {
            tracing::warn!(%error, "a published file breaks off");
        }
        std::future::ready(!corrupt)
    });
    readable.boxed()
}

/// The rows of a list of keys break off with an error of this store, not of a computation.
fn of_keys(error: StoreError) -> StoreError {
    match error {
        StoreError::Rows(error) => StoreError::carried_by(error).unwrap_or_else(StoreError::Rows),
        error => error,
    }
}

fn as_rows(schema: SchemaRef, keys: KeyStream) -> SendableRecordBatchStream {
    let batches = keys.map_err(|error| DataFusionError::External(Box::new(error)));
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}
