//! Many connections on one database, with the real clock: workers that outlive their leases, files that change meanwhile,
//! and an oracle that knows what must come out.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as Stopwatch};

use neartime_model::{
    Chunk, ChunkWidth, FeatureName, FeatureVersion, Fence, FileKey, FilePath, FileVersion, Generation, Instant,
    SourceName, Span,
};

use super::Tasks;
use crate::contract::simulation::Sabotage;
use crate::{
    Claim, ClaimRequest, Claims as _, DueRule, FeatureDeclaration, FileRegistration, Intake as _, Lease, Look as _,
    Operate as _, Registration, RetryRequest, RunEnd, RunOutcome, SourceDeclaration, TaskId, TaskQuery, TaskState,
    TasksError, WorkerSource,
};

/// Who shares the work, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) claimers: usize,
    pub(crate) registrars: usize,
    pub(crate) paths: usize,
    pub(crate) chunks: usize,
    pub(crate) lease: Duration,
    /// Work takes up to so long: longer than a lease, so that some are outlived.
    pub(crate) work: Duration,
    /// The crowd goes home after so many claims and lost leases,
    pub(crate) enough: (usize, usize),
    /// or when it gets late.
    pub(crate) late: Duration,
    pub(crate) sabotage: Sabotage,
}

type Files = BTreeMap<String, String>;

/// What everybody can see: the newest version of each key, and what was published of each task.
#[derive(Debug, Default)]
struct World {
    newest: HashMap<(String, Instant), Files>,
    published: HashMap<TaskId, (Generation, Files)>,
    top_fence: HashMap<TaskId, Fence>,
    found: Found,
}

/// What the oracle saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) claims: usize,
    pub(crate) completions: usize,
    pub(crate) leases_lost: usize,
    /// Calls that failed because the server was away.
    pub(crate) outages: usize,
    pub(crate) stale_commits: usize,
    pub(crate) wrong_tasks: usize,
}

pub(crate) fn source() -> SourceName {
    SourceName::new("events").unwrap()
}

pub(crate) fn feature() -> (FeatureName, FeatureVersion) {
    (FeatureName::new("a").unwrap(), FeatureVersion(1))
}

pub(crate) async fn declare(db: &Tasks) {
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

/// Lets a crowd work for a while, lets everything come to rest, and looks.
pub(crate) async fn share(databases: &[Arc<Tasks>], crowd: Crowd) -> Found {
    declare(&databases[0]).await;
    let world = Arc::new(Mutex::new(World::default()));
    let end = Stopwatch::now() + crowd.late;
    let mut hands = Vec::new();
    for number in 0..crowd.claimers + crowd.registrars {
        let mut hand = Hand {
            db: Arc::clone(&databases[number % databases.len()]),
            world: Arc::clone(&world),
            crowd,
            number,
            random: fastrand::Rng::with_seed(u64::try_from(number).unwrap()),
        };
        hands.push(tokio::spawn(async move {
            while Stopwatch::now() < end && !hand.has_seen_enough() {
                if number < crowd.registrars { hand.register_any().await } else { hand.work_once().await }
            }
        }));
    }
    for hand in hands {
        hand.await.unwrap();
    }
    come_to_rest(&databases[0], &world, crowd).await;
    look(&databases[0], &world).await
}

struct Hand {
    db: Arc<Tasks>,
    world: Arc<Mutex<World>>,
    crowd: Crowd,
    number: usize,
    random: fastrand::Rng,
}

impl Hand {
    fn has_seen_enough(&self) -> bool {
        let found = &self.world.lock().unwrap().found;
        found.claims >= self.crowd.enough.0 && found.leases_lost >= self.crowd.enough.1
    }

    async fn register_any(&mut self) {
        let first = ChunkWidth::TEN_MINUTES.chunk_of(Instant::from_ymd(2018, 8, 1).unwrap());
        let chunk = (0..self.random.usize(..self.crowd.chunks)).fold(first, |chunk, _| chunk.next());
        let path = FilePath::new(format!("path{}/", self.random.usize(..self.crowd.paths)));
        self.register_one(path, chunk).await;
        tokio::time::sleep(Duration::from_millis(self.random.u64(..40))).await;
    }

    /// Each hand has keys of its own, so that the world knows which version came last.
    async fn register_one(&mut self, path: FilePath, chunk: Chunk) {
        let key = format!("{path}{}/{}-{}.gz", chunk.start(), self.number, self.random.u8(..4));
        let version = self.random.u32(..).to_string();
        let file = FileRegistration {
            key: FileKey::new(&*key),
            version: FileVersion::new(&*version),
            size_bytes: 1,
            source_bucket: "raw".into(),
            file_path: path.clone(),
            chunk,
        };
        let registration =
            Registration { source: source(), due: DueRule::End { delay: Span::ZERO }, files: vec![file] };
        while let Err(error) = self.db.register(&registration).await {
            self.outage(&error).await;
        }
        self.world.lock().unwrap().newest.entry((path.to_string(), chunk.start())).or_default().insert(key, version);
    }

    async fn outage(&mut self, error: &TasksError) {
        assert!(matches!(error, TasksError::Unavailable { .. } | TasksError::Locked { .. }), "{error:?}");
        self.world.lock().unwrap().found.outages += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    async fn work_once(&mut self) {
        match claim(&self.db, &self.world, self.crowd).await {
            Ok(Some(claim)) => {
                let most = u64::try_from(self.crowd.work.as_micros()).unwrap();
                tokio::time::sleep(Duration::from_micros(self.random.u64(..most))).await;
                if self.random.u8(..4) == 0 {
                    self.register_one(claim.file_path.clone(), claim.chunk).await;
                }
                publish(&self.world, &claim);
                while let Err(error) = complete(&self.db, &self.world, &claim, self.crowd.sabotage).await {
                    self.outage(&error).await;
                }
            }
            Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => self.outage(&error).await,
        }
    }
}

async fn claim(db: &Tasks, world: &Mutex<World>, crowd: Crowd) -> Result<Option<Claim>, TasksError> {
    let sources = vec![WorkerSource { name: source(), features: vec![feature()] }];
    let lease = Span::from_micros(i64::try_from(crowd.lease.as_micros()).unwrap());
    let claim = db.claim(&ClaimRequest { worker: "worker".into(), sources, lease }).await?;
    let Some(claim) = claim else { return Ok(None) };
    let mut world = world.lock().unwrap();
    world.found.claims += 1;
    // The answers of two claims may overtake each other, but no fence comes twice.
    let top = world.top_fence.entry(claim.lease.task).or_default();
    assert!(claim.lease.fence != *top, "a fence came twice");
    *top = claim.lease.fence.max(*top);
    Ok(Some(claim))
}

fn publish(world: &Mutex<World>, claim: &Claim) {
    let mut world = world.lock().unwrap();
    let place = world.published.entry(claim.lease.task).or_default();
    if claim.generation >= place.0 {
        let files = claim.files.iter().map(|file| (file.key.to_string(), file.version.to_string()));
        *place = (claim.generation, files.collect());
    }
}

/// Completes a claim, or goes round a protection first.
async fn complete(db: &Tasks, world: &Mutex<World>, claim: &Claim, sabotage: Sabotage) -> Result<(), TasksError> {
    let (name, version) = feature();
    let outcome = RunOutcome { feature: name, version, end: RunEnd::Done { rows: 1, bytes: 1 }, dropped: Vec::new() };
    let task = claim.lease.task;
    let top_before = world.lock().unwrap().top_fence[&task];
    let mut lease = claim.lease;
    if sabotage == Sabotage::NoFence {
        lease = Lease { task, fence: db.task(task).await?.expect("it is there").task.fence };
    }
    if sabotage == Sabotage::NoGenerationTest
        && let Err(error) = db.refresh(&lease, &[feature()]).await
    {
        return forgive(world, error);
    }
    match db.complete(&lease, &[outcome], None).await {
        Ok(_) => {
            let mut world = world.lock().unwrap();
            world.found.completions += 1;
            world.found.stale_commits += usize::from(claim.lease.fence < top_before);
            Ok(())
        }
        Err(error) => forgive(world, error),
    }
}

fn forgive(world: &Mutex<World>, error: TasksError) -> Result<(), TasksError> {
    let lost = matches!(error, TasksError::LeaseLost { .. });
    // Without the fence, whoever holds the task may not have claimed that run.
    let cheated = matches!(error, TasksError::Broken { .. });
    world.lock().unwrap().found.leases_lost += usize::from(lost);
    if lost || cheated { Ok(()) } else { Err(error) }
}

/// Whoever slept past the lease is gone; what is left is done without sabotage, but keeps what sabotage did.
async fn come_to_rest(db: &Tasks, world: &Mutex<World>, crowd: Crowd) {
    let slow = Crowd { lease: Duration::from_secs(10), ..crowd };
    // So many leases are outlived that some tasks were parked for it.
    while db.retry(&RetryRequest::default()).await.is_err() {}
    while !matches!(db.next_due_at(&[source()]).await, Ok(None)) {
        // The server may still come and go.
        match claim(db, world, slow).await {
            Ok(Some(claim)) => {
                publish(world, &claim);
                while complete(db, world, &claim, Sabotage::None).await.is_err() {}
            }
            Ok(None) | Err(TasksError::Unavailable { .. } | TasksError::Locked { .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn look(db: &Tasks, world: &Mutex<World>) -> Found {
    let rows = db.tasks(&TaskQuery::default()).await.unwrap();
    let mut world = world.lock().unwrap();
    assert_eq!(rows.len(), world.newest.len());
    for row in rows {
        let newest = &world.newest[&(row.file_path.to_string(), row.chunk.start())];
        let published = world.published.get(&row.task).map(|(_, files)| files);
        let at_rest = (row.state, row.done_generation) == (TaskState::Done, row.generation);
        if !at_rest || published != Some(newest) {
            eprintln!("{row:?}\n  published {published:?}\n  newest {newest:?}");
            world.found.wrong_tasks += 1;
        }
    }
    world.found.clone()
}
