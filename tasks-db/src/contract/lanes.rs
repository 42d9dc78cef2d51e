use neartime_model::{FeatureVersion, FileKey, Generation, Span};

use super::bench::{Bench, at, done, failed, feature_name, features_of, file, source_name};
use crate::{BackfillRequest, FileState, Lane, Parking, RetryRequest, TaskState};

async fn backfill_july(bench: &Bench) -> u64 {
    backfill(bench, "2018-07-01", "2018-07-02").await
}

pub(super) async fn backfill_august(bench: &Bench) -> u64 {
    backfill(bench, "2018-08-01", "2018-08-02").await
}

async fn backfill(bench: &Bench, from: &str, to: &str) -> u64 {
    let request = BackfillRequest {
        feature: feature_name("a"),
        version: FeatureVersion(1),
        source: source_name("events"),
        from: at(from),
        to: at(to),
    };
    bench.db.backfill(&request).await.unwrap()
}

/// Ten finished chunks of July, which a backfill wants again.
async fn backfilling(bench: Bench) -> Bench {
    let bench = bench.declared().await;
    let starts: Vec<String> = (0..10).map(|hour| format!("2018-07-01T{hour:02}:00:00Z")).collect();
    bench.chunks(&starts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    bench.drain().await;
    assert_eq!(backfill_july(&bench).await, 10);
    bench
}

pub(super) async fn fresh_chunks_and_a_backfill_share_a_path(bench: Bench) {
    let bench = backfilling(bench).await;
    let starts: Vec<String> = (0..20).map(|hour| format!("2018-08-01T{hour:02}:00:00Z")).collect();
    bench.chunks(&starts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut lanes = Vec::new();
    for _ in 0..16 {
        let claim = bench.claim_some().await;
        lanes.push(claim.lane);
        bench.finish(&claim).await;
    }
    let backfilled = lanes.iter().filter(|lane| **lane == Lane::Backfill).count();
    assert_eq!(backfilled, 4, "{lanes:?}");
    let waited = lanes.split(|lane| *lane == Lane::Backfill).map(<[Lane]>::len).max();
    assert!(waited <= Some(3), "{lanes:?}");
    assert_eq!(bench.drain().await, 14);
}

pub(super) async fn a_backfill_raises_no_generation(bench: Bench) {
    let bench = backfilling(bench).await;
    assert_eq!(bench.list().await[0].lane, Lane::Backfill);
    let claim = bench.claim_some().await;
    assert_eq!((features_of(&claim), claim.generation), (vec!["a"], Generation(1)));
    bench.finish(&claim).await;
    // Armed while it runs: done again.
    let claim = bench.claim_some().await;
    backfill_july(&bench).await;
    assert_eq!(bench.finish(&claim).await.state, TaskState::Done);
    assert_eq!(bench.drain().await, 9);
    assert!(bench.list().await.iter().all(|row| row.generation == Generation(1)));
}

pub(super) async fn a_registration_moves_a_task_to_the_fresh_lane(bench: Bench) {
    let bench = backfilling(bench).await;
    bench.register(vec![file("p/", "2018-07-01T05:00:00Z", "late.gz", "v1")]).await;
    let claim = bench.claim_some().await;
    assert_eq!((claim.chunk.start(), claim.lane), (at("2018-07-01T05:00:00Z"), Lane::Fresh));
    assert_eq!(features_of(&claim), ["a", "b"]);
}

pub(super) async fn a_missing_file_parks_until_it_is_back_or_accepted(bench: Bench) {
    let bench = bench.declared().await;
    let input = |name: &str| file("p/", "2018-08-01T10:40:00Z", name, "v1");
    bench.register(vec![input("here.gz"), input("gone.gz")]).await;
    let gone = FileKey::new("p/2018-08-01T10:40:00Z/gone.gz");
    let claim = bench.claim_some().await;
    let parking = Parking { error: "gone.gz is gone".into(), missing: vec![gone.clone()] };
    bench.db.park(&claim.lease, &parking).await.unwrap();
    let task = claim.lease.task;
    let state_of_gone = async || bench.detail(task).await.files[0].state;
    assert_eq!(state_of_gone().await, FileState::Missing);
    // A listing that sees it again arms the task.
    assert_eq!(bench.register(vec![input("here.gz"), input("gone.gz")]).await.files, 1);
    assert_eq!(state_of_gone().await, FileState::Present);
    let claim = bench.claim_some().await;
    assert_eq!((claim.files.len(), claim.generation), (2, Generation(3)));
    bench.db.park(&claim.lease, &parking).await.unwrap();
    // A plain retry looks for it again.
    bench.db.retry(&RetryRequest { tasks: vec![task], ..RetryRequest::default() }).await.unwrap();
    let claim = bench.claim_some().await;
    assert_eq!((claim.files.len(), claim.generation), (2, Generation(4)));
    bench.db.park(&claim.lease, &parking).await.unwrap();
    let accept = RetryRequest { accept_missing: true, ..RetryRequest::default() };
    assert_eq!(bench.db.retry(&accept).await.unwrap(), 1);
    assert_eq!(state_of_gone().await, FileState::Accepted);
    let claim = bench.claim_some().await;
    assert_eq!((claim.files.len(), claim.generation), (1, Generation(5)));
    assert_eq!(bench.finish(&claim).await.state, TaskState::Done);
    assert_eq!(bench.db.retry(&accept).await.unwrap(), 0);
    // It is back after all.
    assert_eq!(bench.register(vec![input("gone.gz"), input("here.gz")]).await.files, 1);
    let claim = bench.claim_some().await;
    assert_eq!((claim.files.len(), claim.generation), (2, Generation(6)));
}

pub(super) async fn a_retry_arms_a_parked_run_without_a_new_generation(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z"]).await;
    let claim = bench.claim_some().await;
    bench.db.complete(&claim.lease, &[done("a", 1), failed("b", Span::ZERO)], None).await.unwrap();
    for _ in 1..8 {
        let claim = bench.claim_some().await;
        bench.db.complete(&claim.lease, &[failed("b", Span::ZERO)], None).await.unwrap();
    }
    bench.drain().await;
    assert_eq!(bench.row(claim.lease.task).await.parked_runs, 1);
    let elsewhere = RetryRequest { from: Some(at("2018-08-01T10:50:00Z")), ..RetryRequest::default() };
    assert_eq!(bench.db.retry(&elsewhere).await.unwrap(), 0);
    assert_eq!(bench.db.retry(&RetryRequest::default()).await.unwrap(), 1);
    let claim = bench.claim_some().await;
    assert_eq!((features_of(&claim), claim.runs[0].attempts), (vec!["b"], 0));
    assert_eq!(claim.generation, Generation(1));
}
