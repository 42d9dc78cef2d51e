//! That a claim costs what is due, never what exists: plans that are checked always, and times that are measured on
//! demand (`cargo test -p neartime-tasks-db -- --ignored --nocapture`).

use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use neartime_model::{
    ChunkWidth, FeatureName, FeatureVersion, FileKey, FilePath, FileVersion, Instant, SourceName, Span, SystemClock,
};

use super::*;
use crate::{
    ClaimRequest, Claims as _, ColumnDeclaration, DueRule, FeatureDeclaration, FileRegistration, Intake as _,
    Look as _, Operate as _, Registered, Registration, RunEnd, RunOutcome, SourceDeclaration, Tasks, WorkerSource,
};

async fn open(directory: &tempfile::TempDir) -> Tasks {
    let options = SqliteOptions::new(directory.path().join("tasks.db"), Arc::new(SystemClock));
    Tasks::open(&options).await.unwrap()
}

async fn plan(db: &Tasks, statement: &'static str) -> String {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&db.sqlite().readers).await.unwrap();
    steps.into_iter().map(|(_, _, _, step)| step + "\n").collect()
}

#[tokio::test]
async fn claims_walk_the_unfinished_tasks_alone() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(&directory).await;
    let path = plan(&db, include_str!("../../queries/sqlite/claim_path.sql")).await;
    let next = plan(&db, include_str!("../../queries/sqlite/next_due.sql")).await;
    for plan in [&path, &next] {
        assert!(plan.contains("USING INDEX tasks_due (path_id>?)"), "jumps from path to path: {plan}");
        assert!(!plan.contains("SCAN t") && !plan.contains("SCAN p"), "{plan}");
    }
    assert!(path.contains("tasks_due (path_id=? AND <expr><?)"), "{path}");
    let task = plan(&db, include_str!("../../queries/sqlite/claim_task.sql")).await;
    assert!(task.contains("tasks_queue (path_id=? AND lane=?)") && !task.contains("ORDER BY"), "{task}");
    let missing = plan(&db, include_str!("../../queries/sqlite/missing_runs.sql")).await;
    assert!(missing.contains("tasks_completed (source=? AND completion>? AND completion<?)"), "{missing}");
    let parked = plan(&db, include_str!("../../queries/sqlite/tasks_page_parked.sql")).await;
    assert!(parked.contains("INDEX runs_unfinished") && parked.contains("INDEX tasks_by_state (state=?)"), "{parked}");
    assert!(!parked.contains("SCAN t\n") && !parked.contains("tasks_by_chunk"), "{parked}");
    let changed = plan(&db, include_str!("../../queries/sqlite/changed_files.sql")).await;
    assert!(changed.contains("SEARCH f USING PRIMARY KEY (source=? AND key=?)"), "{changed}");
}

fn source() -> SourceName {
    SourceName::new("events").unwrap()
}

async fn declare(db: &Tasks) {
    let source =
        SourceDeclaration { name: source(), width: ChunkWidth::TEN_MINUTES, layout: "%Y/%m/%d/%H%M.gz".into() };
    db.declare_sources(&[source]).await.unwrap();
    let feature = FeatureDeclaration {
        name: FeatureName::new("a").unwrap(),
        version: FeatureVersion(1),
        source: self::source(),
        engine: "count".into(),
        keys: vec!["id".into()],
        columns: vec![ColumnDeclaration { name: "id".into(), data_type: "text".into() }],
        definition: String::new(),
    };
    db.declare_features(&[feature]).await.unwrap();
}

fn file(path: usize, chunk: neartime_model::Chunk) -> FileRegistration {
    let file_path = format!("in/horizontals/brand{path}/android/");
    FileRegistration {
        key: FileKey::new(format!("{file_path}{}.gz", chunk.start())),
        version: FileVersion::new("9a0364b9e99bb480dd25e1f0284c8555"),
        size_bytes: 1_000_000,
        source_bucket: "s3://raw-data-reservoir".into(),
        file_path: FilePath::new(file_path),
        chunk,
    }
}

fn registration(files: Vec<FileRegistration>) -> Registration {
    Registration { source: source(), due: DueRule::End { delay: Span::from_mins(3) }, files }
}

fn first_chunk() -> neartime_model::Chunk {
    ChunkWidth::TEN_MINUTES.chunk_of(Instant::from_ymd(2018, 1, 1).unwrap())
}

/// A million finished tasks: twenty paths over a year, nearly.
async fn fill(db: &Tasks) {
    let mut chunk = first_chunk();
    for _ in 0..100 {
        let mut files = Vec::new();
        for _ in 0..500 {
            files.extend((0..20).map(|path| file(path, chunk)));
            chunk = chunk.next();
        }
        db.register(&registration(files)).await.unwrap();
    }
    let finish = "UPDATE tasks SET state = 'done', due_at = NULL, completion = task_id, done_generation = 1;
        UPDATE numbers SET value = 1000000;
        INSERT INTO runs (task_id, data_chunk, feature, version, state, rows)
        SELECT task_id, data_chunk, 'a', 1, 'done', 10 FROM tasks;";
    sqlx::raw_sql(finish).execute(&db.sqlite().writer).await.unwrap();
}

async fn claim_and_complete(db: &Tasks) -> (Duration, Duration) {
    let feature = (FeatureName::new("a").unwrap(), FeatureVersion(1));
    let sources = vec![WorkerSource { name: source(), features: vec![feature.clone()] }];
    let request = ClaimRequest { worker: "worker".into(), sources, lease: Span::from_secs(60) };
    let watch = Stopwatch::now();
    let claim = db.claim(&request).await.unwrap().unwrap();
    let claimed = watch.elapsed();
    let end = RunEnd::Done { rows: 1, bytes: 1 };
    let outcome = RunOutcome { feature: feature.0, version: feature.1, end, dropped: Vec::new() };
    let watch = Stopwatch::now();
    db.complete(&claim.lease, &[outcome], None).await.unwrap();
    (claimed, watch.elapsed())
}

#[tokio::test]
#[ignore = "fills a table with a million tasks and measures"]
async fn a_claim_from_a_million_finished_tasks_takes_under_five_milliseconds() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(&directory).await;
    declare(&db).await;
    let watch = Stopwatch::now();
    fill(&db).await;
    eprintln!("filled in {:?}", watch.elapsed());
    let mut chunk = ChunkWidth::TEN_MINUTES.chunk_of(Instant::from_ymd(2020, 1, 1).unwrap());
    let mut files = Vec::new();
    for _ in 0..5_000 {
        files.push(file(3, chunk));
        chunk = chunk.next();
    }
    let watch = Stopwatch::now();
    assert_eq!(db.register(&registration(files.clone())).await.unwrap().created, 5_000);
    eprintln!("5,000 new files registered in {:?}", watch.elapsed());
    let watch = Stopwatch::now();
    assert_eq!(db.register(&registration(files)).await.unwrap(), Registered::default());
    eprintln!("5,000 unchanged files registered in {:?}", watch.elapsed());
    let mut times = Vec::new();
    for _ in 0..200 {
        times.push(claim_and_complete(&db).await);
    }
    let median = |pick: fn(&(Duration, Duration)) -> Duration| {
        let mut sorted: Vec<Duration> = times.iter().map(pick).collect();
        sorted.sort_unstable();
        (sorted[100], sorted[198])
    };
    let (claim, complete) = (median(|times| times.0), median(|times| times.1));
    eprintln!(
        "claim: median {:?}, p99 {:?}; complete: median {:?}, p99 {:?}",
        claim.0, claim.1, complete.0, complete.1
    );
    let watch = Stopwatch::now();
    db.pulse().await.unwrap();
    eprintln!("pulse in {:?}", watch.elapsed());
    let watch = Stopwatch::now();
    db.features().await.unwrap();
    eprintln!("features in {:?}", watch.elapsed());
    let watch = Stopwatch::now();
    db.retry(&crate::RetryRequest::default()).await.unwrap();
    eprintln!("retry of nothing in {:?}", watch.elapsed());
    assert!(claim.0 < Duration::from_millis(5), "{:?}", claim.0);
}
