//! Offline and online store together: whatever dies on the way, the next publish makes the online rows those of the
//! file.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, Int64Array};
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use neartime_engine::{Count, FeatureTable, LastActionTime, OnlineLayout, Ratio};
use neartime_model::{Classify, ErrorKind, Fence, FilePath, Instant, OutputName, Span};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::{AT, Backend, Place};
use crate::offline::{BucketPublisher, DirectoryPublisher};
use crate::testing::{BucketInMemory, batch, file, order, rows, rows_of, users};
use crate::{
    FeaturesStore, OnlineStore, PartitionFile, Publisher, Put, Staged, StoreError, lookup, publish_online,
    rebuild_latest,
};

/// Steps left until the process dies; each step may die before or after it is done.
#[derive(Clone, Debug)]
struct Fuse(Arc<AtomicUsize>);

impl Fuse {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }

    fn set(&self, steps: usize) {
        self.0.store(steps, Ordering::SeqCst);
    }

    fn burn(&self) -> Result<(), StoreError> {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 0 { Err(StoreError::unavailable("taking a step", "the process died")) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct MortalPublisher(Arc<dyn Publisher>, Fuse);

#[async_trait]
impl Publisher for MortalPublisher {
    async fn prepare(&self, key: &Path) -> Result<(), StoreError> {
        self.0.prepare(key).await
    }

    async fn stage(&self, key: &Path) -> Result<Box<dyn Staged>, StoreError> {
        self.1.burn()?;
        self.0.stage(key).await
    }

    async fn lock(&self, key: &Path) -> Result<Arc<dyn Any + Send + Sync>, StoreError> {
        self.1.burn()?;
        self.0.lock(key).await
    }

    async fn put(&self, staged: Box<dyn Staged>, key: &Path, found: Option<&ObjectMeta>) -> Result<Put, StoreError> {
        self.1.burn()?;
        let done = self.0.put(staged, key, found).await?;
        self.1.burn()?;
        Ok(done)
    }

    async fn remove(&self, key: &Path, found: &ObjectMeta) -> Result<(), StoreError> {
        self.1.burn()?;
        self.0.remove(key, found).await?;
        self.1.burn()
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        self.0.sweep().await
    }
}

#[derive(Debug)]
struct MortalOnline(Arc<dyn OnlineStore>, Fuse);

#[async_trait]
impl OnlineStore for MortalOnline {
    async fn ensure(&self, table: &FeatureTable) -> Result<(), StoreError> {
        self.0.ensure(table).await
    }

    async fn check(&self, table: &FeatureTable) -> Result<bool, StoreError> {
        self.0.check(table).await
    }

    async fn write(&self, file: &PartitionFile, fence: Fence, rows: RecordBatch) -> Result<(), StoreError> {
        self.1.burn()?;
        self.0.write(file, fence, rows).await?;
        self.1.burn()
    }

    async fn delete(&self, file: &PartitionFile, fence: Fence, keys: RecordBatch) -> Result<(), StoreError> {
        self.1.burn()?;
        self.0.delete(file, fence, keys).await?;
        self.1.burn()
    }

    async fn read(
        &self,
        table: &Arc<FeatureTable>,
        entity: &str,
        chunks: Option<Range<Instant>>,
    ) -> Result<SendableRecordBatchStream, StoreError> {
        self.0.read(table, entity, chunks).await
    }

    async fn truncate(&self, table: &FeatureTable) -> Result<(), StoreError> {
        self.0.truncate(table).await
    }
}

struct Stores {
    offline: FeaturesStore,
    online: MortalOnline,
    fuse: Fuse,
    _folder: tempfile::TempDir,
}

fn stores(backend: &Backend) -> Stores {
    let folder = tempfile::tempdir().unwrap();
    let fuse = Fuse::new();
    let root = folder.path().join("features");
    let bucket = Arc::new(BucketInMemory::default());
    let (objects, prefix, publisher): (Arc<dyn ObjectStore>, Path, Arc<dyn Publisher>) = match backend.offline {
        Place::Directory => {
            let publisher = DirectoryPublisher::new(root.clone(), Duration::from_secs(30));
            let prefix = Path::from_absolute_path(&root).unwrap();
            (Arc::new(LocalFileSystem::new()), prefix, Arc::new(publisher))
        }
        Place::Bucket => {
            let prefix = Path::from("features");
            let publisher = BucketPublisher::new(bucket.clone(), prefix.clone(), root);
            (bucket.objects.clone(), prefix, Arc::new(publisher))
        }
    };
    let offline = FeaturesStore::new(objects, prefix, Arc::new(MortalPublisher(publisher, fuse.clone())));
    Stores { offline, online: MortalOnline(Arc::clone(&backend.store), fuse.clone()), fuse, _folder: folder }
}

impl Stores {
    /// One claim's walk: publish offline, then online.
    async fn walk(&self, file: &PartitionFile, generation: i64, fence: i64, of: &[i64]) -> Result<(), StoreError> {
        let of = users(of.iter().copied());
        self.offline.publish(file, order(1, generation), Fence(fence), rows(&file.table, &of, 2)).await?;
        publish_online(&self.offline, &self.online, file, Fence(fence)).await?;
        Ok(())
    }

    /// The users that are live online for a file's chunk, by asking for each.
    async fn live(&self, file: &PartitionFile, of: Range<i64>) -> Vec<i64> {
        let mut live = Vec::new();
        for user in of {
            let chunk = Some(file.chunk.start()..file.chunk.end());
            let found = self.online.read(&file.table, &format!("u{user}"), chunk).await.unwrap();
            let found: Vec<RecordBatch> = found.try_collect().await.unwrap();
            live.extend(found.iter().flat_map(|batch| vec![user; batch.num_rows()]));
        }
        live
    }

    async fn has_list(&self, file: &PartitionFile) -> bool {
        self.offline.vanished(file).await.unwrap().is_some()
    }
}

/// One chunk after the other, so that tests need no table of their own for each case.
fn chunks() -> impl Iterator<Item = Instant> {
    let first: Instant = AT.parse().unwrap();
    (0..).map(move |chunk| first + Span::from_mins(10 * chunk))
}

pub(in crate::online) async fn a_crash_at_any_step_loses_no_delete(backend: &Backend) {
    let table = backend.table("user_num_posts", OnlineLayout::PerChunk).await;
    let mut chunks = chunks();
    // Steps of the walk that is cut off, and whether another generation or the same one comes next.
    for steps in 0..16 {
        for next in [vec![1, 4], vec![1, 2], vec![4]] {
            let stores = stores(backend);
            let file = file(&table, &chunks.next().unwrap().to_string());
            stores.walk(&file, 1, 10, &[1, 2, 3]).await.unwrap();
            stores.fuse.set(steps);
            let cut = stores.walk(&file, 2, 20, &[1, 4]).await;
            assert_eq!(cut.is_err(), steps < 14, "the walk has 14 steps: {steps}");
            stores.fuse.set(usize::MAX);
            let generation = if next == [1, 4] { 2 } else { 3 };
            stores.walk(&file, generation, 30, &next).await.unwrap();
            assert_eq!(stores.live(&file, 0..6).await, next, "died after {steps} steps");
            assert!(!stores.has_list(&file).await);
        }
    }
}

pub(in crate::online) async fn random_crashes_and_zombies_end_in_the_last_file(backend: &Backend) {
    let table = backend.table("user_num_posts", OnlineLayout::PerChunk).await;
    let mut chunks = chunks();
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let stores = stores(backend);
        let file = file(&table, &chunks.next().unwrap().to_string());
        let content: BTreeMap<i64, Vec<i64>> =
            (1..8).map(|generation| (generation, (0..8).filter(|_| random.bool()).collect())).collect();
        let mut generation = 1;
        let mut claims = Vec::new();
        for fence in 1..15 {
            generation = (generation + random.i64(0..2)).min(7);
            stores.fuse.set(random.usize(0..14));
            claims.push((generation, fence));
            // Every fourth is a zombie: a claim of before wakes up.
            let zombie = random.u8(0..4) == 0;
            let (mine, at) = if zombie { claims[random.usize(0..claims.len())] } else { (generation, fence) };
            stores.walk(&file, mine, at, &content[&mine]).await.ok();
        }
        stores.fuse.set(usize::MAX);
        stores.walk(&file, generation, 100, &content[&generation]).await.unwrap();
        assert_eq!(stores.live(&file, 0..8).await, content[&generation], "seed {seed}");
        assert!(!stores.has_list(&file).await);
    }
}

pub(in crate::online) async fn the_latest_time_falls_only_by_a_rebuild(backend: &Backend) {
    let stores = stores(backend);
    let file = file(&backend.table("user_last_login", OnlineLayout::Latest).await, AT);
    stores.walk(&file, 1, 10, &[1_533_118_000, 5]).await.unwrap();
    stores.walk(&file, 2, 20, &[5]).await.unwrap();
    assert!(!stores.has_list(&file).await);
    let engine = LastActionTime::by(["id", "country"]);
    let found = async |user: &str| lookup(&stores.online, &file.table, &engine, user, None).await.unwrap().num_rows();
    assert_eq!(found("u1533118000").await, 1);
    let rebuilt = rebuild_latest(&stores.offline, &stores.online, &file.table, |_| {}).await.unwrap();
    assert_eq!((rebuilt.files, rebuilt.rows), (1, 1));
    assert_eq!((found("u1533118000").await, found("u5").await), (0, 1));
    // A file that cannot be read is left out, and told.
    let objects = stores.offline.objects();
    let listed: Vec<ObjectMeta> = objects.list(Some(stores.offline.root())).try_collect().await.unwrap();
    let parquet = listed.iter().find(|object| object.location.as_ref().ends_with(".parquet")).unwrap();
    let next = self::file(&file.table, "2018-08-01T10:50:00Z");
    stores.walk(&next, 1, 30, &[7]).await.unwrap();
    objects.put(&parquet.location, "PAR1 no more".into()).await.unwrap();
    let refused = rebuild_latest(&stores.offline, &stores.online, &file.table, |_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Failed, "{refused}");
    assert_eq!((found("u5").await, found("u7").await), (0, 1));
}

pub(in crate::online) async fn a_lookup_folds_chunks_and_paths_and_adds_ratios(backend: &Backend) {
    let mut table = backend.table("user_num_posts", OnlineLayout::PerChunk).await;
    let ratio = |name: &str, expression: &str| Ratio {
        name: OutputName::new(name).unwrap(),
        expression: expression.to_owned(),
    };
    table.ratios = vec![ratio("half", "actions_count / 2"), ratio("nothing", "actions_count / (actions_count - 7)")];
    for (at, path, value) in [
        ("2018-08-01T10:40:00Z", "in/a/", 1),
        ("2018-08-01T10:40:00Z", "in/b/", 2),
        ("2018-08-01T10:50:00Z", "in/a/", 4),
    ] {
        let mut file = file(&table, at);
        file.file_path = FilePath::new(path);
        let rows = [(Some("u1".to_owned()), None, value), (Some("u1".to_owned()), Some("gh".to_owned()), value * 10)];
        backend.store.write(&file, Fence(1), batch(&table, &rows)).await.unwrap();
    }
    let table = Arc::new(table);
    let engine = Count::by(["id", "country"]);
    let found = lookup(&*backend.store, &table, &engine, "u1", None).await.unwrap();
    assert_eq!(found.column(2).as_primitive::<Int64Type>(), &Int64Array::from(vec![7, 70]));
    assert_eq!(found.column(3).as_primitive::<Float64Type>().values(), &[3.5, 35.0]);
    let nothing = found.column(4).as_primitive::<Float64Type>();
    assert_eq!((nothing.iter().next().unwrap(), nothing.value(1)), (None, 70.0 / 63.0));
    let window = AT.parse().unwrap().."2018-08-01T10:50:00Z".parse().unwrap();
    let found = lookup(&*backend.store, &table, &engine, "u1", Some(window)).await.unwrap();
    assert_eq!(found.column(2).as_primitive::<Int64Type>(), &Int64Array::from(vec![3, 30]));
    let nobody = lookup(&*backend.store, &table, &engine, "u9", None).await.unwrap();
    assert_eq!((nobody.num_rows(), nobody.num_columns()), (0, 5));
}

pub(in crate::online) async fn a_folded_lookup_over_many_rows(backend: &Backend) {
    let table = Arc::new(backend.table("user_num_posts", OnlineLayout::PerChunk).await);
    let mut countries: Vec<String> = (0..20_000).map(|country| format!("c{country}")).collect();
    countries.sort();
    let of = |value: i64| -> Vec<_> {
        countries.iter().map(|country| (Some("u1".to_owned()), Some(country.clone()), value)).collect()
    };
    for chunk in 0..5 {
        let file = file(&table, &format!("2018-08-01T10:{chunk}0:00Z"));
        backend.store.write(&file, Fence(1), batch(&table, &of(1 << chunk))).await.unwrap();
    }
    let found = lookup(&*backend.store, &table, &Count::by(["id", "country"]), "u1", None).await.unwrap();
    assert_eq!(rows_of(&[found]), of(31));
}
