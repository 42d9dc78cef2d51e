//! Two processes' worth of connections on one file, with the real clock: workers that outlive their leases, files that
//! change meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use neartime_model::{
    ChunkWidth, FeatureName, FeatureVersion, Fence, FileKey, FilePath, FileVersion, Generation, Instant, SourceName,
    Span, SystemClock,
};

use super::*;
use crate::{
    Claim, ClaimRequest, Claims as _, DueRule, FeatureDeclaration, FileRegistration, Intake as _, Look as _,
    Registration, RunEnd, RunOutcome, SourceDeclaration, TaskId, TaskQuery, TaskState, TasksError, WorkerSource,
};

const CHUNKS: usize = 6;
const LEASE_MILLIS: u64 = 150;

type Files = BTreeMap<String, String>;

/// What everybody can see: the newest version of each key, and what was published of each task.
#[derive(Debug, Default)]
struct World {
    newest: HashMap<Instant, Files>,
    published: HashMap<TaskId, (Generation, Files)>,
    top_fence: HashMap<TaskId, Fence>,
    stale_commits: usize,
    lost: usize,
    claims: usize,
}

fn source() -> SourceName {
    SourceName::new("events").unwrap()
}

fn feature() -> (FeatureName, FeatureVersion) {
    (FeatureName::new("a").unwrap(), FeatureVersion(1))
}

async fn open(path: &Path) -> Arc<SqliteTasks> {
    let options = SqliteOptions::new(path, Arc::new(SystemClock));
    Arc::new(SqliteTasks::open(&options).await.unwrap())
}

async fn declare(db: &SqliteTasks) {
    let width = ChunkWidth::TEN_MINUTES;
    db.declare_sources(&[SourceDeclaration { name: source(), width, layout: "%H%M.gz".into() }]).await.unwrap();
    let (name, version) = feature();
    let feature = FeatureDeclaration {
        name,
        version,
        source: source(),
        engine: "count".into(),
        keys: vec!["id".into()],
        columns: Vec::new(),
        definition: String::new(),
    };
    db.declare_features(&[feature]).await.unwrap();
}

/// Each hand has keys of its own, so that the world knows which version came last.
async fn register_one(db: &SqliteTasks, world: &Mutex<World>, hand: u64, random: &mut fastrand::Rng) {
    let first = ChunkWidth::TEN_MINUTES.chunk_of(Instant::from_ymd(2018, 8, 1).unwrap());
    let chunk = (0..random.usize(..CHUNKS)).fold(first, |chunk, _| chunk.next());
    let key = format!("{}/{hand}-{}.gz", chunk.start(), random.u8(..4));
    let version = random.u32(..).to_string();
    let file = FileRegistration {
        key: FileKey::new(&*key),
        version: FileVersion::new(&*version),
        size_bytes: 1,
        source_bucket: "raw".into(),
        file_path: FilePath::new(""),
        chunk,
    };
    let due = DueRule::End { delay: Span::ZERO };
    db.register(&Registration { source: source(), due, files: vec![file] }).await.unwrap();
    world.lock().unwrap().newest.entry(chunk.start()).or_default().insert(key, version);
}

async fn claim(db: &SqliteTasks, world: &Mutex<World>) -> Option<Claim> {
    let sources = vec![WorkerSource { name: source(), features: vec![feature()] }];
    let lease = Span::from_micros(1_000 * i64::try_from(LEASE_MILLIS).unwrap());
    let claim = db.claim(&ClaimRequest { worker: "worker".into(), sources, lease }).await.unwrap()?;
    let mut world = world.lock().unwrap();
    world.claims += 1;
    let top = world.top_fence.entry(claim.lease.task).or_default();
    assert!(claim.lease.fence > *top, "a fence grows");
    *top = claim.lease.fence;
    Some(claim)
}

async fn work(db: &SqliteTasks, world: &Mutex<World>, claim: &Claim) {
    {
        let mut world = world.lock().unwrap();
        let place = world.published.entry(claim.lease.task).or_default();
        if claim.generation >= place.0 {
            let files = claim.files.iter().map(|file| (file.key.to_string(), file.version.to_string()));
            *place = (claim.generation, files.collect());
        }
    }
    let (name, version) = feature();
    let end = RunEnd::Done { rows: 1, bytes: 1 };
    let outcome = RunOutcome { feature: name, version, end, dropped: Vec::new() };
    let top_before = world.lock().unwrap().top_fence[&claim.lease.task];
    let ended = db.complete(&claim.lease, &[outcome], None).await;
    let mut world = world.lock().unwrap();
    match ended {
        Ok(_) => world.stale_commits += usize::from(claim.lease.fence < top_before),
        Err(TasksError::LeaseLost { .. }) => world.lost += 1,
        Err(error) => panic!("only a lease can be lost: {error:?}"),
    }
}

async fn look(db: &SqliteTasks, world: &Mutex<World>) {
    let any = TaskQuery { source: None, state: None, file_path: None, from: None, to: None, after: None, limit: 100 };
    let rows = db.tasks(&any).await.unwrap();
    assert_eq!(rows.len(), CHUNKS);
    let world = world.lock().unwrap();
    assert_eq!(world.stale_commits, 0);
    assert!(world.claims > CHUNKS && world.lost > 0, "{} claims, {} lost", world.claims, world.lost);
    for row in rows {
        assert_eq!((row.state, row.done_generation), (TaskState::Done, row.generation), "{row:?}");
        let newest = &world.newest[&row.chunk.start()];
        assert_eq!(world.published[&row.task], (row.generation, newest.clone()));
    }
}

/// However the hands fared: one process sleeps past its lease, the other takes over.
async fn a_lease_is_outlived(databases: &[Arc<SqliteTasks>; 2], world: &Mutex<World>) {
    register_one(&databases[0], world, 9, &mut fastrand::Rng::with_seed(9)).await;
    let mut sleeper = None;
    while sleeper.is_none() {
        sleeper = claim(&databases[0], world).await;
    }
    let sleeper = sleeper.unwrap();
    loop {
        tokio::time::sleep(Duration::from_millis(LEASE_MILLIS)).await;
        let other = claim(&databases[1], world).await;
        if let Some(other) = other {
            work(&databases[1], world, &other).await;
            if other.lease.task == sleeper.lease.task {
                break;
            }
        }
    }
    work(&databases[0], world, &sleeper).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.db");
    let databases = [open(&path).await, open(&path).await];
    declare(&databases[0]).await;
    let world = Arc::new(Mutex::new(World::default()));
    let mut hands = Vec::new();
    for hand in 0..8_u64 {
        let (db, world) = (Arc::clone(&databases[usize::from(hand % 2 == 1)]), Arc::clone(&world));
        hands.push(tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(hand);
            for _ in 0..40 {
                if hand < 2 {
                    register_one(&db, &world, hand, &mut random).await;
                    tokio::time::sleep(Duration::from_millis(random.u64(..60))).await;
                } else if let Some(claim) = claim(&db, &world).await {
                    // Some outlive their lease.
                    tokio::time::sleep(Duration::from_millis(random.u64(..LEASE_MILLIS + 30))).await;
                    work(&db, &world, &claim).await;
                } else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }));
    }
    for hand in hands {
        hand.await.unwrap();
    }
    a_lease_is_outlived(&databases, &world).await;
    while databases[0].next_due_at(&[source()]).await.unwrap().is_some() {
        match claim(&databases[1], &world).await {
            Some(claim) => work(&databases[1], &world, &claim).await,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    look(&databases[0], &world).await;
}
