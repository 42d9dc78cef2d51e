//! The contract, and what is SQLite's own.

use std::sync::Arc;
use std::time::Duration;

use neartime_model::{Classify as _, ErrorKind, ManualClock, SystemClock};

use super::*;
use crate::contract::simulation::{Findings, Sabotage, simulate};
use crate::contract::{Bench, CASES};
use crate::tables::sharing::{Crowd, share};
use crate::{Tasks, TasksDb, TasksError};

async fn open_with_clock(path: &Path) -> Bench {
    let clock = Arc::new(ManualClock::new(Bench::START));
    let options = SqliteOptions::new(path, Arc::clone(&clock) as _).with_clock(Arc::clone(&clock) as _);
    Bench::new(Arc::new(Tasks::open(&options).await.unwrap()), clock)
}

async fn open(path: &Path) -> Result<Tasks> {
    Tasks::open(&SqliteOptions::new(path, Arc::new(SystemClock))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let mut broken = Vec::new();
    for case in CASES {
        let directory = tempfile::tempdir().unwrap();
        let bench = open_with_clock(&directory.path().join("tasks.db")).await;
        if tokio::spawn((case.run)(bench)).await.is_err() {
            broken.push(case.name);
        }
    }
    assert!(broken.is_empty(), "broken promises: {broken:#?}");
}

async fn simulate_seed(seed: u64, sabotage: Sabotage) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let bench = open_with_clock(&directory.path().join("tasks.db")).await;
    let mut random = fastrand::Rng::with_seed(seed);
    simulate(bench, 250, sabotage, move |below| random.usize(..below)).await
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_whatever_the_order() {
    let (mut claims, mut leases_lost) = (0, 0);
    for seed in 0..10 {
        let findings = simulate_seed(seed, Sabotage::None).await;
        assert!(findings.are_clean(), "seed {seed}: {findings:#?}");
        claims += findings.claims;
        leases_lost += findings.leases_lost;
    }
    assert!(claims > 200 && leases_lost > 20, "{claims} claims, {leases_lost} leases lost");
}

#[tokio::test]
async fn without_the_fence_the_oracle_sees_stale_commits() {
    let mut stale_commits = 0;
    for seed in 0..5 {
        stale_commits += simulate_seed(seed, Sabotage::NoFence).await.stale_commits;
    }
    assert!(stale_commits > 0);
}

#[tokio::test]
async fn without_the_generation_test_the_oracle_sees_lost_files() {
    let mut wrong_files = 0;
    for seed in 0..5 {
        wrong_files += simulate_seed(seed, Sabotage::NoGenerationTest).await.wrong_files.len();
    }
    assert!(wrong_files > 0);
}

#[tokio::test]
async fn the_writer_goes_on_after_a_transaction_that_sqlite_ended() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(directory.path().join("tasks.db"), Arc::new(SystemClock));
    let backend = SqliteBackend::open(&options).await.unwrap();
    for _ in 0..2 {
        let mut tx = backend.writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::query("CREATE TABLE one (n INTEGER PRIMARY KEY)").execute(&mut *tx).await.unwrap();
        // What SQLite also does by itself where a commit finds the disk full.
        let ended = sqlx::query("INSERT OR ROLLBACK INTO one VALUES (1), (1)").execute(&mut *tx).await;
        assert!(ended.is_err());
        tx.commit().await.expect_err("there is no transaction any more");
    }
    backend.write().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told_from_one_that_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.db");
    std::fs::write(&path, "this is a text file, and quite a long one, so that it has a header to look at").unwrap();
    assert_eq!(open(&path).await.unwrap_err().kind(), ErrorKind::Failed);
    let away = open(&directory.path().join("no/such/place/tasks.db")).await.unwrap_err();
    assert!(matches!(away, TasksError::Unavailable { .. }), "{away:?}");
}

#[test]
fn a_url_names_a_file_below_the_configuration_or_anywhere() {
    let path = |url: &str| {
        SqliteOptions::from_url(url, Path::new("/etc/neartime"), Arc::new(SystemClock)).map(|options| options.path)
    };
    assert_eq!(path("sqlite://neartime.db").unwrap(), Path::new("/etc/neartime/neartime.db"));
    assert_eq!(path("sqlite:///var/lib/tasks.db").unwrap(), Path::new("/var/lib/tasks.db"));
    for wrong in ["postgres://user:secret@host/db", "sqlite://", "neartime.db", "sqlite://a.db?mode=memory"] {
        let error = path(wrong).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_make_one_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.db");
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { open(&path).await.map(|_| ()) })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.db");
    let databases = [Arc::new(open(&path).await.unwrap()), Arc::new(open(&path).await.unwrap())];
    let crowd = Crowd {
        claimers: 6,
        registrars: 2,
        paths: 2,
        chunks: 6,
        lease: Duration::from_millis(100),
        work: Duration::from_millis(150),
        enough: (60, 5),
        late: Duration::from_secs(30),
        sabotage: Sabotage::None,
    };
    let found = share(&databases, crowd).await;
    assert!(found.claims >= 60 && found.leases_lost >= 5 && found.completions > 10, "{found:?}");
    assert_eq!((found.stale_commits, found.wrong_tasks, found.outages), (0, 0, 0), "{found:?}");
}

#[tokio::test]
async fn the_databases_clock_is_the_machines() {
    let directory = tempfile::tempdir().unwrap();
    let db = open(&directory.path().join("tasks.db")).await.unwrap();
    let apart = (TasksDb::now(&db).await.unwrap() - SystemClock.now()).as_micros().abs();
    assert!(apart < 5_000_000, "{apart} us");
    let settings: (String, i64, i64) = (
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&db.sqlite().writer).await.unwrap(),
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(&db.sqlite().writer).await.unwrap(),
        sqlx::query_scalar("PRAGMA busy_timeout").fetch_one(&db.sqlite().writer).await.unwrap(),
    );
    assert_eq!(settings, ("wal".to_owned(), 2, 5_000));
    let refused = sqlx::query("DELETE FROM tasks").execute(&db.sqlite().readers).await;
    assert!(refused.is_err(), "readers do not write");
    db.close().await;
}
