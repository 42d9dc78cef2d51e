//! The same reports from a bucket, by workers that share the user database there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use neartime_model::{Fence, Instant, Span};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::world::{World, plain_config};
use crate::{Air, FeaturesPlace, Report, UdbPlace, Work};

const NOON: i64 = 1_533_124_800;
const HOUR: i64 = 3_600;

fn at(hours: i64) -> Instant {
    Instant::from_secs(NOON) + Span::from_mins(60 * hours)
}

/// Puts the world's files into the bucket, as the features store would have.
async fn upload(world: &World, objects: &dyn ObjectStore) {
    let root = world.folder.path().join("features_store");
    for (feature, chunk, stem) in world.files.keys() {
        let table = [&world.air.config.segments[0], &world.air.config.sites[0]];
        let table = table.into_iter().find(|member| member.table.name.as_str() == feature).unwrap();
        let path = world.path(&table.table, *chunk, stem);
        let below = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let key = Path::parse(format!("features/store/{below}")).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // What is the same keeps its version, as it does in the features store.
        if objects.get(&key).await.is_ok_and(|found| found.meta.size == bytes.len() as u64) {
            continue;
        }
        objects.put(&key, bytes.into()).await.unwrap();
    }
}

/// A bucket in which some objects are two days older than they are.
#[derive(Debug, Default)]
struct Aged(InMemory);

impl fmt::Display for Aged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aged")
    }
}

#[async_trait]
impl ObjectStore for Aged {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(key, payload, options).await
    }
    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(key, options).await
    }
    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(key, options).await
    }
    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(keys)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let age = |mut object: ObjectMeta| {
            if object.location.filename() == Some("aged") {
                object.last_modified -= Duration::from_secs(2 * 86_400);
            }
            object
        };
        self.0.list(prefix).map_ok(age).boxed()
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// A worker with a folder of its own.
fn worker(world: &World, objects: &Arc<dyn ObjectStore>, name: &str) -> Air {
    let prefix = Path::parse("features/store").unwrap();
    Air {
        features_store: FeaturesPlace::Bucket { objects: Arc::clone(objects), prefix },
        udb: UdbPlace::bucket(
            world.folder.path().join(name),
            Arc::clone(objects),
            Path::parse("features/udb").unwrap(),
        ),
        ..world.air.clone()
    }
}

/// Two days of visits, then an hour's chunk at a time.
async fn world() -> World {
    let mut world = World::new(plain_config()).await;
    let ids: Vec<String> = (0..4_000).map(|user| format!("u{user}")).collect();
    let every = |step: usize, item: &'static str, at: i64| -> Vec<(&str, &str, i64, i64)> {
        ids.iter().step_by(step).map(|id| (id.as_str(), item, at, at)).collect()
    };
    world.write_secs("segments", &[every(1, "1", NOON), every(2, "2", NOON)].concat());
    world.write_secs("sites", &[every(1, "x", NOON + 60), every(5, "y", NOON + 60)].concat());
    world
}

fn add_visits(world: &mut World, hour: i64) {
    let when = NOON + hour * HOUR + 1;
    world.write_secs("sites", &[("u3", "z", when, when), ("u8", "y", when, when)]);
}

fn rows(report: &Report) -> String {
    report.rows().map(|row| format!("{row:?}\n")).collect()
}

async fn keys(objects: &dyn ObjectStore) -> Vec<String> {
    let all: Vec<_> = objects.list(Some(&Path::from("features/udb"))).try_collect().await.unwrap();
    all.iter().map(|object| object.location.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_take_up_where_another_left_off() {
    let mut world = world().await;
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    upload(&world, objects.as_ref()).await;
    let workers = ["one", "two"].map(|name| worker(&world, &objects, name));
    assert_eq!(workers[0].newest_chunk_end().await.unwrap(), Some(at(1)));

    let first = workers[0].compute(at(24), Fence(1)).await.unwrap();
    assert_eq!(first.work, Work::Everyone);
    assert_eq!(rows(&first), rows(&world.anew().compute(at(24), world.fence()).await.unwrap()));
    for hour in 24..30 {
        add_visits(&mut world, hour);
        upload(&world, objects.as_ref()).await;
        // In turns; the second one's disk is empty at first.
        let worker = &workers[usize::try_from(hour).unwrap() % 2];
        assert_eq!(worker.newest_chunk_end().await.unwrap(), Some(at(hour + 1)));
        let report = worker.compute(at(hour + 1), Fence(hour)).await.unwrap();
        assert_eq!(report.work, Work::Touched(2), "after {hour} hours");
        assert_eq!(rows(&report), rows(&world.anew().compute(at(hour + 1), world.fence()).await.unwrap()));
    }
    // Only what the last list names is left: the list, one state, one dictionary, one snapshot, eight recent chunks.
    let keys = keys(objects.as_ref()).await;
    let count = |part: &str| keys.iter().filter(|key| key.contains(part)).count();
    assert_eq!(
        (count("/current"), count("/state-"), count("/dictionary-"), count("/manifest")),
        (1, 1, 1, 1),
        "{keys:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_run_and_a_lost_race_leave_the_newer_database() {
    let mut world = world().await;
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    upload(&world, objects.as_ref()).await;
    let [one, two] = ["one", "two"].map(|name| worker(&world, &objects, name));
    one.compute(at(24), Fence(10)).await.unwrap();
    let shared = keys(objects.as_ref()).await;
    two.compute(at(24), Fence(5)).await.unwrap();
    assert_eq!(keys(objects.as_ref()).await, shared);

    // Both start from the same list; the one that ends later finds another.
    add_visits(&mut world, 24);
    upload(&world, objects.as_ref()).await;
    let (left, right) = tokio::join!(one.compute(at(25), Fence(11)), two.compute(at(25), Fence(12)));
    let expected = rows(&world.anew().compute(at(25), world.fence()).await.unwrap());
    assert_eq!((rows(&left.unwrap()), rows(&right.unwrap())), (expected.clone(), expected));
    for (fence, worker) in [(13, one), (14, two)] {
        let report = worker.compute(at(26), Fence(fence)).await.unwrap();
        assert_eq!(report.work, Work::Touched(0));
        assert_eq!(rows(&report), rows(&world.anew().compute(at(26), world.fence()).await.unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_or_damaged_in_the_bucket_is_made_again() {
    let world = world().await;
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    upload(&world, objects.as_ref()).await;
    let expected = rows(&world.anew().compute(at(24), world.fence()).await.unwrap());
    worker(&world, &objects, "one").compute(at(24), Fence(1)).await.unwrap();
    let found = keys(objects.as_ref()).await;
    for (fence, part) in [(2, "/manifest"), (3, ".users"), (4, "/dictionary-"), (5, "/state-"), (6, "/current")] {
        let key = Path::parse(found.iter().find(|key| key.contains(part)).unwrap()).unwrap();
        objects.put(&key, "not what it was".into()).await.unwrap();
        let report = worker(&world, &objects, part.trim_matches(['/', '-', '.'])).compute(at(24), Fence(fence)).await;
        assert_eq!(rows(&report.unwrap()), expected, "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_forgets_what_it_holds_of_another_place() {
    // Two stores with the same paths, sizes and tags, and other users on the sites.
    let mut reports = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    for (place, site) in [("first", "x"), ("second", "y")] {
        let mut world = World::new(plain_config()).await;
        world.write_secs("segments", &[("u1", "1", NOON, NOON), ("u2", "2", NOON, NOON)]);
        world.write_secs("sites", &[("u1", site, NOON + 60, NOON + 60), ("u2", "z", NOON + 60, NOON + 60)]);
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(&world, objects.as_ref()).await;
        let prefix = Path::parse(format!("{place}/udb")).unwrap();
        let udb = UdbPlace::bucket(folder.path(), Arc::clone(&objects), prefix);
        let air = Air { udb, ..worker(&world, &objects, "one") };
        let report = air.compute(at(24), Fence(1)).await.unwrap();
        assert_eq!(rows(&report), rows(&world.anew().compute(at(24), world.fence()).await.unwrap()), "{place}");
        reports.push(rows(&report));
    }
    assert_ne!(reports[0], reports[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dead_runs_left_goes_with_the_next_snapshot() {
    let mut world = world().await;
    let objects: Arc<dyn ObjectStore> = Arc::new(Aged::default());
    upload(&world, objects.as_ref()).await;
    let worker = worker(&world, &objects, "one");
    worker.compute(at(24), Fence(1)).await.unwrap();
    let current = keys(objects.as_ref()).await.into_iter().find(|key| key.ends_with("/current")).unwrap();
    let orphan = |name: &str| Path::from(current.replace("current", &format!("days/2018-07-01-0/{name}")));
    for name in ["aged", "young"] {
        objects.put(&orphan(name), "left behind".into()).await.unwrap();
    }
    let left = async || {
        let keys = keys(objects.as_ref()).await;
        ["aged", "young"].map(|name| keys.contains(&orphan(name).to_string()))
    };
    // At noon, and at eleven: no listing of everything. At midnight there is another snapshot.
    for (hour, expected) in [(25, [true, true]), (35, [true, true]), (36, [false, true])] {
        add_visits(&mut world, hour - 1);
        upload(&world, objects.as_ref()).await;
        worker.compute(at(hour), Fence(hour)).await.unwrap();
        assert_eq!(left().await, expected, "hour {hour}");
    }
}
