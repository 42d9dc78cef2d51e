//! Heartbeats against a real task database.

use neartime_model::{ChunkWidth, Clock, FeatureName, FeatureVersion, FileKey, FilePath, FileVersion, ManualClock};
use neartime_model::{Instant as Wall, SourceName};
use neartime_tasks_db::{
    Claim, ClaimRequest, Claims, DueRule, FeatureDeclaration, FileRegistration, Intake, Registration,
    SourceDeclaration, SqliteOptions, Tasks, TasksDb, WorkerSource,
};

use super::*;

const LEASE: Span = Span::from_secs(4);

/// A database with one due task.
async fn database(folder: &std::path::Path, clock: &Arc<ManualClock>) -> Tasks {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
    let options = SqliteOptions::new(folder.join("tasks.db"), Arc::clone(&clock)).with_clock(clock);
    let tasks = Tasks::open(&options).await.unwrap();
    let source = SourceName::new("events").unwrap();
    let width = ChunkWidth::TEN_MINUTES;
    let declared = SourceDeclaration { name: source.clone(), width, layout: "%Y%m%d%H%M.gz".to_owned() };
    tasks.declare_sources(&[declared]).await.unwrap();
    let feature = FeatureDeclaration {
        name: FeatureName::new("counted").unwrap(),
        version: FeatureVersion(1),
        source: source.clone(),
        engine: "count".to_owned(),
        keys: vec!["id".to_owned()],
        columns: Vec::new(),
        definition: String::new(),
    };
    tasks.declare_features(&[feature]).await.unwrap();
    let file = FileRegistration {
        key: FileKey::new("a.gz"),
        version: FileVersion::new("1"),
        size_bytes: 1,
        source_bucket: "raw".to_owned(),
        file_path: FilePath::new(""),
        chunk: width.chunk_of(Wall::EPOCH),
    };
    let due = DueRule::End { delay: Span::ZERO };
    tasks.register(&Registration { source, due, files: vec![file] }).await.unwrap();
    tasks
}

async fn claim(tasks: &Tasks) -> Option<Claim> {
    let source = WorkerSource {
        name: SourceName::new("events").unwrap(),
        features: vec![(FeatureName::new("counted").unwrap(), FeatureVersion(1))],
    };
    let request = ClaimRequest { worker: "test".to_owned(), sources: vec![source], lease: LEASE };
    tasks.claim(&request).await.unwrap()
}

#[tokio::test]
async fn a_claim_that_is_held_outlives_its_lease_and_one_that_is_taken_over_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new("2024-03-01T00:00:00Z".parse().unwrap()));
    let tasks = database(folder.path(), &clock).await;
    let heartbeats = Heartbeats::start(tasks.hearts(), LEASE).unwrap();
    let first = claim(&tasks).await.expect("the task is due");
    let mut hold = heartbeats.hold(first.lease, Instant::now());
    for _ in 0..3 {
        // Between two beats the database's clock moves by less than a lease, together by more.
        clock.advance(Span::from_secs(1));
        tokio::time::sleep(LEASE.to_std() / BEATS_A_LEASE * 2).await;
        assert!(claim(&tasks).await.is_none(), "the lease is extended in time");
    }
    // A beat may fall between the two calls and save the lease; no beat can save it every time.
    let second = loop {
        clock.advance(LEASE + LEASE);
        if let Some(claim) = claim(&tasks).await {
            break claim;
        }
    };
    assert!(second.lease.fence > first.lease.fence);
    assert_eq!(hold.lost().await, Lost::TakenOver);
}

#[derive(Debug)]
struct Unreachable;

#[async_trait::async_trait]
impl HeartSource for Unreachable {
    async fn open(&self) -> neartime_tasks_db::Result<Box<dyn Heart>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_stops_the_work_before_the_lease_ends() {
    let heartbeats = Heartbeats::start(Box::new(Unreachable), LEASE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new("2024-03-01T00:00:00Z".parse().unwrap()));
    let tasks = database(folder.path(), &clock).await;
    let asked_at = Instant::now();
    let held = claim(&tasks).await.expect("the task is due");
    assert_eq!(heartbeats.hold(held.lease, asked_at).lost().await, Lost::Unreachable);
    let lease = LEASE.to_std();
    let told = asked_at.elapsed();
    assert!((lease - lease / BEATS_A_LEASE..lease).contains(&told), "told after {told:?} of {lease:?}");
}
