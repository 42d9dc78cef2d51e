//! What is SQLite's own, and the contract.

use std::sync::Arc;

use neartime_model::ManualClock;

use super::*;
use crate::contract::{Bench, CASES};

async fn open_with_clock(path: &Path) -> Bench {
    let clock = Arc::new(ManualClock::new(Bench::START));
    let options = SqliteOptions::new(path, Arc::clone(&clock) as _).with_clock(Arc::clone(&clock) as _);
    Bench::new(Arc::new(SqliteTasks::open(&options).await.unwrap()), clock)
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
