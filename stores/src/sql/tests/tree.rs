//! A small tree of files, in a directory or in a bucket, whose readers are watched.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::stream::BoxStream;
use neartime_engine::FeatureTable;
use neartime_model::Fence;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::offline::{BucketPublisher, DirectoryPublisher, LocalTree};
use crate::sql::SqlSession;
use crate::testing::{BucketInMemory, TestRow, order, rows};
use crate::{FeaturesStore, PartitionFile, Publisher};

/// What happens when a file is read for the first time.
type OnFirstRead = Box<dyn Fn(&Path) + Send + Sync>;

/// Objects that count what is asked of them.
pub(super) struct Watched {
    inner: Arc<dyn ObjectStore>,
    listed: Mutex<Vec<String>>,
    read: Mutex<BTreeSet<String>>,
    on_first_read: Mutex<Option<OnFirstRead>>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let first = !options.head && self.read.lock().unwrap().insert(location.to_string());
        if let (true, Some(act)) = (first, &*self.on_first_read.lock().unwrap()) {
            act(location);
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed.lock().unwrap().push(prefix.map(ToString::to_string).unwrap_or_default());
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.listed.lock().unwrap().push(prefix.map(ToString::to_string).unwrap_or_default());
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

pub(super) struct Tree {
    pub(super) watched: Arc<Watched>,
    pub(super) store: FeaturesStore,
    pub(super) folder: tempfile::TempDir,
}

impl Tree {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::from_absolute_path(folder.path()).unwrap();
        let publisher = Arc::new(DirectoryPublisher::new(folder.path().to_owned(), Duration::from_secs(30)));
        Self::of(Arc::new(LocalTree::new()), root, publisher, folder)
    }

    pub(super) fn in_bucket() -> Self {
        let (bucket, root) = (Arc::new(BucketInMemory::default()), Path::from("lake/features"));
        let folder = tempfile::tempdir().unwrap();
        let publisher = Arc::new(BucketPublisher::new(bucket.clone(), root.clone(), folder.path().to_owned()));
        Self::of(bucket.objects.clone(), root, publisher, folder)
    }

    fn of(inner: Arc<dyn ObjectStore>, root: Path, publisher: Arc<dyn Publisher>, folder: tempfile::TempDir) -> Self {
        let watched = Arc::new(Watched {
            inner,
            listed: Mutex::default(),
            read: Mutex::default(),
            on_first_read: Mutex::default(),
        });
        let store = FeaturesStore::new(Arc::clone(&watched) as Arc<dyn ObjectStore>, root, publisher);
        Self { watched, store, folder }
    }

    pub(super) async fn publish(&self, file: &PartitionFile, generation: i64, of: &[TestRow]) {
        self.store.publish(file, order(1, generation), Fence(generation), rows(&file.table, of, 100)).await.unwrap();
    }

    /// A session that counts anew.
    pub(super) fn session(&self, tables: &[&FeatureTable]) -> SqlSession {
        self.watched.listed.lock().unwrap().clear();
        self.watched.read.lock().unwrap().clear();
        let session = SqlSession::new(self.store.clone(), Arc::new(RuntimeEnv::default()), 2);
        tables.iter().fold(session, |session, table| session.with_feature(Arc::new((*table).clone())))
    }

    pub(super) fn files_read(&self) -> usize {
        self.watched.read.lock().unwrap().len()
    }

    pub(super) fn listings(&self) -> usize {
        self.watched.listed.lock().unwrap().len()
    }

    /// The bytes of a published file.
    pub(super) async fn bytes_of(&self, file: &PartitionFile) -> Vec<u8> {
        self.watched.inner.get(&self.location_of(file)).await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// Puts these bytes in the place of a file as soon as something is read.
    pub(super) fn replace_on_first_read(&self, file: &PartitionFile, bytes: Vec<u8>) {
        let (objects, location) = (Arc::clone(&self.watched.inner), self.location_of(file));
        *self.watched.on_first_read.lock().unwrap() = Some(Box::new(move |_| {
            futures::executor::block_on(objects.put(&location, bytes.clone().into())).unwrap();
        }));
    }

    pub(super) fn location_of(&self, file: &PartitionFile) -> Path {
        self.store.root().parts().chain(file.key().unwrap().parts()).collect()
    }

    pub(super) fn path_of(&self, file: &PartitionFile) -> PathBuf {
        self.folder.path().join(file.key().unwrap().as_ref())
    }
}
