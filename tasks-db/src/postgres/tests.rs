//! The contract, and what is Postgres' own, against a real server: `NEARTIME_TEST_POSTGRES` says where. Each test has
//! schemas of its own.

mod faults;
mod plans;
mod server;

use std::sync::Arc;

use futures::StreamExt as _;
use neartime_model::{Classify as _, ErrorKind, ManualClock, SystemClock};
use server::Scratch;

use super::*;
use crate::contract::simulation::{Findings, Sabotage, simulate};
use crate::contract::{Bench, CASES};
use crate::{Tasks, TasksDb as _, TasksError};

/// Skips a test, with a word, where there is no server to test against.
macro_rules! require_server {
    () => {
        match server::server_url() {
            Some(url) => url,
            None => return,
        }
    };
}
pub(crate) use require_server;

async fn bench(scratch: &Scratch) -> Bench {
    let clock = Arc::new(ManualClock::new(Bench::START));
    let options = scratch.options().with_clock(Arc::clone(&clock) as _);
    Bench::new(Arc::new(Tasks::connect(&options).await.unwrap()), clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_contract() {
    let url = require_server!();
    // Several at a time: most of a case is waiting for answers.
    let cases = CASES.iter().map(|case| async {
        let scratch = Scratch::new(&url).await;
        let bench = bench(&scratch).await;
        let db = Arc::clone(&bench.db);
        let ended = tokio::spawn((case.run)(bench)).await;
        db.close().await;
        scratch.drop().await;
        ended.is_err().then_some(case.name)
    });
    let broken: Vec<Option<&str>> = futures::stream::iter(cases).buffer_unordered(6).collect().await;
    let broken: Vec<&str> = broken.into_iter().flatten().collect();
    assert!(broken.is_empty(), "broken promises: {broken:#?}");
}

async fn simulate_seed(url: &str, seed: u64, sabotage: Sabotage) -> Findings {
    let scratch = Scratch::new(url).await;
    let bench = bench(&scratch).await;
    let db = Arc::clone(&bench.db);
    let mut random = fastrand::Rng::with_seed(seed);
    let findings = simulate(bench, 250, sabotage, move |below| random.usize(..below)).await;
    db.close().await;
    scratch.drop().await;
    findings
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_whatever_the_order() {
    let url = require_server!();
    let (mut claims, mut leases_lost) = (0, 0);
    for seed in 0..5 {
        let findings = simulate_seed(&url, seed, Sabotage::None).await;
        assert!(findings.are_clean(), "seed {seed}: {findings:#?}");
        claims += findings.claims;
        leases_lost += findings.leases_lost;
    }
    assert!(claims > 100 && leases_lost > 10, "{claims} claims, {leases_lost} leases lost");
}

#[tokio::test]
async fn the_oracle_sees_what_is_taken_away() {
    let url = require_server!();
    let (mut stale_commits, mut wrong_files) = (0, 0);
    for seed in 0..3 {
        stale_commits += simulate_seed(&url, seed, Sabotage::NoFence).await.stale_commits;
        wrong_files += simulate_seed(&url, seed, Sabotage::NoGenerationTest).await.wrong_files.len();
    }
    assert!(stale_commits > 0 && wrong_files > 0, "{stale_commits} stale commits, {wrong_files} wrong files");
}

async fn refusal(url: &str) -> TasksError {
    let options = PostgresOptions::from_url(url, Arc::new(SystemClock)).unwrap();
    Tasks::connect(&options).await.unwrap_err()
}

fn chain(error: &TasksError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn a_server_that_refuses_us_says_why() {
    let url = require_server!();
    let (credentials, rest) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    let (user, password) = credentials.split_once(':').unwrap();
    let (address, database) = rest.split_once('/').unwrap();
    let wrong_password = refusal(&format!("postgres://{user}:not-the-password@{address}/{database}")).await;
    let no_database = refusal(&format!("postgres://{user}:{password}@{address}/no_such_database")).await;
    let no_server = refusal(&format!("postgres://{user}:{password}@127.0.0.1:1/{database}")).await;
    for (error, word) in [(&wrong_password, "password"), (&no_database, "no_such_database"), (&no_server, "refused")] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let text = chain(error);
        assert!(text.contains("connect to the Postgres server") && text.contains(word), "{text}");
        assert!(!text.contains("not-the-password"), "{text}");
    }
}

#[tokio::test]
async fn tables_of_somebody_else_are_refused() {
    let url = require_server!();
    for change in [
        "ALTER TABLE tasks DROP COLUMN worker",
        "DROP TABLE stream_shards",
        "UPDATE neartime_migrations SET digest = 'of another program'",
    ] {
        let scratch = Scratch::new(&url).await;
        Tasks::connect(&scratch.options()).await.unwrap().close().await;
        Tasks::connect(&scratch.options()).await.unwrap().close().await;
        scratch.run(change).await;
        let error = Tasks::connect(&scratch.options()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{change}: {error:?}");
        // An older release goes on working on what a newer one added to.
        scratch.drop().await;
    }
    let scratch = Scratch::new(&url).await;
    Tasks::connect(&scratch.options()).await.unwrap().close().await;
    scratch
        .run("INSERT INTO neartime_migrations VALUES (99, 'of a newer release', 0); ALTER TABLE tasks ADD news text")
        .await;
    Tasks::connect(&scratch.options()).await.unwrap().close().await;
    scratch.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_make_one_database() {
    let url = require_server!();
    let scratch = Scratch::new(&url).await;
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let options = scratch.options();
            tokio::spawn(async move { Tasks::connect(&options).await.map(|_| ()) })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    scratch.drop().await;
}

#[tokio::test]
async fn the_databases_clock_decides_and_every_statement_has_a_deadline() {
    let url = require_server!();
    let scratch = Scratch::new(&url).await;
    for pooled in [false, true] {
        let db = Tasks::connect(&scratch.options_with(pooled)).await.unwrap();
        let apart = crate::check_clock(&db, &SystemClock).await.unwrap();
        assert!(apart.as_micros().abs() < 5_000_000, "{apart}");
        let far = ManualClock::new(Bench::START);
        let error = crate::check_clock(&db, &far).await.unwrap_err();
        assert!(matches!(error, TasksError::ClockApart { .. }) && error.kind() == ErrorKind::Unavailable);
        let mut tx = db.postgres().write().await.unwrap();
        let crate::tables::session::Session::Postgres(conn, _) = tx.session() else { panic!("Postgres") };
        for (name, value) in SETTINGS {
            let query = sqlx::query_scalar("SELECT current_setting($1)").persistent(false).bind(name);
            let set: String = query.fetch_one(&mut *conn).await.unwrap();
            assert_eq!(set, value, "{name}");
        }
        drop(tx);
        db.close().await;
    }
    scratch.drop().await;
}
