//! The features store itself: publish, read back, list.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use neartime_engine::{FeatureTable, OnlineLayout};
use neartime_model::{ContentOrder, Fence, FilePath};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::bucket::BucketPublisher;
use super::directory::DirectoryPublisher;
use super::encode::{Encoded, Layout, encode, io_error};
use super::footer::Footer;
use super::listing::{ListedFile, list_files};
use super::published::{PublishedFile, is_changed};
use super::tree::{LocalTree, is_too_long};
use super::{ConditionalPut, PartitionFile, Published, Publisher, Put, Staged};
use crate::StoreError;

/// How long a publish waits while another one replaces a file of the same folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// How often a file is opened again because it was replaced between finding and reading it.
const OPEN_ATTEMPTS: usize = 10;

/// How often a publish begins again because the file was replaced between comparing and putting.
const COMMIT_ATTEMPTS: u32 = 12;
/// How long it waits after the first time; each time twice as long, up to the longest.
const COMMIT_WAIT: Duration = Duration::from_millis(5);
const LONGEST_COMMIT_WAIT: Duration = Duration::from_millis(200);

/// The features store of one place: reads go through `object_store`, replacing files through a [`Publisher`].
#[derive(Clone, Debug)]
pub struct FeaturesStore {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    pub(super) publisher: Arc<dyn Publisher>,
}

impl FeaturesStore {
    /// The store below `root` of `objects`; `publisher` takes keys below the root.
    pub fn new(objects: Arc<dyn ObjectStore>, root: Path, publisher: Arc<dyn Publisher>) -> Self {
        Self { objects, root, publisher }
    }

    /// The store in a directory, which need not exist yet.
    ///
    /// # Errors
    /// Failed if the path cannot be made absolute.
    pub fn directory(root: &FsPath) -> Result<Self, StoreError> {
        let absolute = std::path::absolute(root).map_err(|error| io_error("finding", root, error))?;
        let prefix = Path::from_absolute_path(&absolute)
            .map_err(|error| StoreError::failed(format!("naming {}", root.display()), error))?;
        let publisher = Arc::new(DirectoryPublisher::new(absolute, LOCK_PATIENCE));
        Ok(Self::new(Arc::new(LocalTree::new()), prefix, publisher))
    }

    /// The store below `prefix` of a bucket: `objects` reads it, `puts` writes it. Files are made in the local folder
    /// `staging` first, which belongs to neartime alone.
    pub fn bucket(
        objects: Arc<dyn ObjectStore>,
        prefix: Path,
        puts: Arc<dyn ConditionalPut>,
        staging: PathBuf,
    ) -> Self {
        let publisher = Arc::new(BucketPublisher::new(puts, prefix.clone(), staging));
        Self::new(objects, prefix, publisher)
    }

    /// Where its bytes are read.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The key of the root in [`FeaturesStore::objects`].
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of a file that is to be published. Each new folder is durable before the next is made, which takes
    /// a disk a while: time that the file's rows can be computed in.
    ///
    /// # Errors
    /// Unavailable if the place is away or full.
    pub async fn prepare(&self, file: &PartitionFile) -> Result<(), StoreError> {
        self.publisher.prepare(&file.key()?).await
    }

    /// Writes `rows` (columns as in the table's output, rising by row key) and puts them at the file's name, unless a
    /// file of a higher order is there. For tables that are not [`OnlineLayout::Latest`], the row keys that the file
    /// in place has and the new one has not are first listed durably, for [`crate::publish_online`] to delete at
    /// `fence` or a later one.
    ///
    /// # Errors
    /// Rows if the stream breaks off; Unavailable if the place is away or full; Failed if the rows do not fit.
    pub async fn publish(
        &self,
        file: &PartitionFile,
        order: ContentOrder,
        fence: Fence,
        rows: SendableRecordBatchStream,
    ) -> Result<Published, StoreError> {
        if let Some(found) = self.order_in_place(file).await?.filter(|found| *found > order) {
            return Ok(Published::Superseded { found });
        }
        let layout = Layout {
            schema: file.table.output.arrow(),
            key_columns: file.table.output.row_key().count(),
            metadata: Footer::write(file, order),
        };
        let staged = self.publisher.stage(&file.key()?).await?;
        let encoded = encode(staged.path(), layout, rows).await?;
        let (store, file) = (self.clone(), file.clone());
        // On a task of its own: a caller that is cancelled between comparing and replacing would give up the lock
        // while the rename is still to come.
        let committed = tokio::spawn(async move { store.commit(&file, order, fence, staged, encoded).await }).await;
        committed.map_err(|error| StoreError::failed("publishing", error))?
    }

    async fn commit(
        &self,
        file: &PartitionFile,
        order: ContentOrder,
        fence: Fence,
        mut staged: Box<dyn Staged>,
        encoded: Encoded,
    ) -> Result<Published, StoreError> {
        let key = file.key()?;
        let mut wait = COMMIT_WAIT;
        for _ in 0..COMMIT_ATTEMPTS {
            let lock = self.publisher.lock(&key).await?;
            let found = self.head(&key).await?;
            match self.compare(file, order, fence, found.as_ref(), &*staged).await {
                Ok(None) => match self.publisher.put(staged, &key, found.as_ref()).await? {
                    Put::Done => return Ok(Published::Written { rows: encoded.rows, size_bytes: encoded.size_bytes }),
                    Put::Changed(back) => staged = back,
                },
                Ok(Some(found)) => return Ok(Published::Superseded { found }),
                // Where nothing is locked, it may be replaced while it is looked at.
                Err(error) if is_changed(&error) => {}
                Err(error) => return Err(error),
            }
            drop(lock);
            tokio::time::sleep(wait).await;
            wait = (2 * wait).min(LONGEST_COMMIT_WAIT);
        }
        Err(StoreError::unavailable(
            format!("publishing {key}"),
            "others keep replacing it first: look who writes there",
        ))
    }

    /// Tells the order of what was found in place if it is higher; else lists the keys that will vanish with it.
    async fn compare(
        &self,
        file: &PartitionFile,
        order: ContentOrder,
        fence: Fence,
        found: Option<&ObjectMeta>,
        staged: &dyn Staged,
    ) -> Result<Option<ContentOrder>, StoreError> {
        let Some(found) = found else { return Ok(None) };
        let Some(in_place) = readable(self.open_version(found).await.map(Some))? else { return Ok(None) };
        if let Some(found) = order_of(Some(&in_place)).filter(|found| *found > order) {
            return Ok(Some(found));
        }
        if file.table.online == OnlineLayout::PerChunk {
            self.list_vanished(file, fence, &in_place, staged).await?;
        }
        Ok(None)
    }

    /// Lists the files of a feature, in no order. Their `file_path` is empty: a listing does not tell it.
    ///
    /// # Errors
    /// Failed if the feature has no folder name; the stream ends with Unavailable if the place is away.
    pub fn files(
        &self,
        table: &Arc<FeatureTable>,
    ) -> Result<BoxStream<'static, Result<PartitionFile, StoreError>>, StoreError> {
        let folder = self.folder(table)?;
        let table = Arc::clone(table);
        let attempted = format!("listing {folder}");
        let files = list_files(&*self.objects, folder.clone(), table.width, &folder)
            .map_ok(move |ListedFile { chunk, stem, .. }| PartitionFile {
                table: Arc::clone(&table),
                chunk,
                stem,
                file_path: FilePath::new(""),
            })
            .map_err(move |error| StoreError::unavailable(attempted.clone(), error));
        Ok(files.boxed())
    }

    /// The folder of a feature, as a key in [`FeaturesStore::objects`].
    pub(crate) fn folder(&self, table: &FeatureTable) -> Result<Path, StoreError> {
        Path::parse(format!("{}/{}", self.root, table.name))
            .map_err(|error| StoreError::failed(format!("naming the folder of `{}`", table.name), error))
    }

    /// Opens the published file; `None` if there is none.
    ///
    /// # Errors
    /// Unavailable if the place is away; Failed if what is there is no readable Parquet, as only running its task
    /// again can mend.
    pub async fn open(&self, file: &PartitionFile) -> Result<Option<PublishedFile>, StoreError> {
        self.open_at(&file.key()?, |_| true).await
    }

    /// Opens the version at a key below the root, if there is one and it is `wanted`.
    pub(super) async fn open_at(
        &self,
        key: &Path,
        wanted: fn(&ObjectMeta) -> bool,
    ) -> Result<Option<PublishedFile>, StoreError> {
        let mut attempt = 1;
        loop {
            let Some(meta) = self.head(key).await?.filter(wanted) else { return Ok(None) };
            match self.open_version(&meta).await {
                // Replaced between the two requests: take what is there now.
                Err(error) if is_changed(&error) && attempt < OPEN_ATTEMPTS => attempt += 1,
                opened => return opened.map(Some),
            }
        }
    }

    /// Removes what crashed publishers left behind; returns how many files. (Each publish also sweeps its own folder.)
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        self.publisher.sweep().await
    }

    async fn order_in_place(&self, file: &PartitionFile) -> Result<Option<ContentOrder>, StoreError> {
        Ok(order_of(readable(self.open(file).await)?.as_ref()))
    }

    /// The version at a key below the root.
    pub(super) async fn head(&self, key: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        let location: Path = self.root.parts().chain(key.parts()).collect();
        match self.objects.head(&location).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) if is_too_long(&error) => Err(StoreError::invalid(format!(
                "the features store takes no file name of {} bytes, as the layout's captures would make it: {}",
                key.filename().map_or(0, str::len),
                key.filename().unwrap_or_default(),
            ))),
            Err(error) => Err(StoreError::unavailable(format!("looking at {key} in the features store"), error)),
        }
    }

    pub(super) async fn open_version(&self, meta: &ObjectMeta) -> Result<PublishedFile, StoreError> {
        PublishedFile::open(Arc::clone(&self.objects), meta.clone()).await
    }
}

/// The columns of a table's row key.
pub(crate) fn key_schema(table: &FeatureTable) -> SchemaRef {
    let schema = table.output.arrow();
    let keys = table.output.row_key().count();
    Arc::new(schema.project(&(0..keys).collect::<Vec<_>>()).expect("the row key comes first"))
}

/// What is no Parquet counts as nothing: it is going to be made again.
pub(super) fn readable(opened: Result<Option<PublishedFile>, StoreError>) -> Result<Option<PublishedFile>, StoreError> {
    match opened {
        Err(StoreError::Failed { attempted, .. }) => {
            tracing::warn!(%attempted, "a published file cannot be read");
            Ok(None)
        }
        opened => opened,
    }
}

fn order_of(file: Option<&PublishedFile>) -> Option<ContentOrder> {
    file?.footer().map(|footer| footer.order)
}
