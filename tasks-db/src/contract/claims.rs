use std::collections::{HashMap, HashSet};

use neartime_model::{ChunkWidth, Fence, Generation, Span};

use super::bench::{Bench, LEASE, at, done, features_of, file, request, source_name};
use crate::{FileRegistration, Parking, RetryRequest, TaskState, TasksError};

pub(super) async fn nothing_is_claimed_before_it_is_due(bench: Bench) {
    let bench = bench.declared().await;
    let sources = [source_name("events")];
    assert!(bench.claim().await.is_none());
    assert_eq!(bench.db.next_due_at(&sources).await.unwrap(), None);
    bench.clock.set(at("2018-08-01T10:00:00Z"));
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    assert!(bench.claim().await.is_none());
    let due = at("2018-08-01T10:53:00Z");
    assert_eq!(bench.db.next_due_at(&sources).await.unwrap(), Some(due));
    assert_eq!(bench.db.next_due_at(&[source_name("other")]).await.unwrap(), None);
    bench.clock.set(due);
    let claim = bench.claim_some().await;
    assert_eq!((features_of(&claim), claim.generation), (vec!["a", "b"], Generation(1)));
    assert!(!claim.isolate && !claim.taken_over);
    assert_eq!(claim.lease_until, due + LEASE);
    assert_eq!(bench.db.next_due_at(&sources).await.unwrap(), Some(due + LEASE));
    assert!(bench.claim().await.is_none());
    bench.finish(&claim).await;
    let row = bench.only().await;
    assert_eq!((row.state, row.done_generation, row.claims_without_verdict), (TaskState::Done, Generation(1), 0));
    // A worker without features for the source, or of another source, gets nothing.
    bench.chunks(&["2018-08-01T10:10:00Z"]).await;
    assert!(bench.claim_as(&[]).await.is_none());
}

pub(super) async fn paths_take_turns(bench: Bench) {
    let bench = bench.declared().await;
    const PATHS: usize = 20;
    let mut files: Vec<FileRegistration> = Vec::new();
    for path in 0..PATHS {
        // The first path is far behind all the others.
        let (chunks, first) = if path == 0 { (300, "2017-08-01") } else { (8, "2018-08-01") };
        let mut chunk = ChunkWidth::TEN_MINUTES.chunk_of(at(first));
        for _ in 0..chunks {
            files.push(file(&format!("path{path}/"), &chunk.start().to_string(), "one.gz", "v1"));
            chunk = chunk.next();
        }
    }
    bench.register(files).await;
    let mut last_served: HashMap<String, usize> = HashMap::new();
    for number in 0..PATHS * 8 {
        let claim = bench.claim_some().await;
        let path = claim.file_path.as_str().to_owned();
        let since = number - last_served.insert(path.clone(), number).unwrap_or(0);
        assert!(since <= PATHS, "{path} waited for {since} claims");
        bench.finish(&claim).await;
    }
    assert_eq!(last_served.len(), PATHS);
}

pub(super) async fn many_claimers_take_different_tasks(bench: Bench) {
    let bench = bench.declared().await;
    let files = (0..16).map(|number| {
        let start = format!("2018-08-01T{:02}:00:00Z", number / 2);
        file(&format!("path{}/", number % 2), &start, "one.gz", "v1")
    });
    bench.register(files.collect()).await;
    let claimers: Vec<_> = (0..16)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.claim_some().await.lease.task })
        })
        .collect();
    let mut taken = HashSet::new();
    for claimer in claimers {
        assert!(taken.insert(claimer.await.unwrap()), "each its own");
    }
    assert!(bench.claim().await.is_none());
}

pub(super) async fn the_oldest_chunk_of_a_path_comes_first(bench: Bench) {
    let bench = bench.declared().await;
    let starts = ["2018-08-01T12:00:00Z", "2018-08-01T10:00:00Z", "2018-08-01T11:00:00Z"];
    bench.chunks(&starts).await;
    let first = bench.claim_some().await;
    assert_eq!(first.chunk.start(), at(starts[1]));
    let second = bench.claim_some().await;
    assert_eq!(second.chunk.start(), at(starts[2]));
    // Back-off moves a chunk out of the way of the younger ones, an expired lease does not.
    bench.db.release(&first.lease, Span::from_days(1), "the store is away").await.unwrap();
    assert_eq!(bench.claim_some().await.chunk.start(), at(starts[0]));
    bench.outlive_lease();
    assert_eq!(bench.claim_some().await.chunk.start(), at(starts[2]));
}

pub(super) async fn a_claim_carries_the_newest_version_of_each_key(bench: Bench) {
    let bench = bench.declared().await;
    let version = |name: &str, version: &str| file("p/", "2018-08-01T10:40:00Z", name, version);
    bench.register(vec![version("b.gz", "v1"), version("a.gz", "v1")]).await;
    bench.register(vec![version("b.gz", "v2")]).await;
    let claim = bench.claim_some().await;
    let keys: Vec<_> = claim.files.iter().map(|file| (file.key.as_str(), file.version.as_str())).collect();
    assert_eq!(keys, [("p/2018-08-01T10:40:00Z/a.gz", "v1"), ("p/2018-08-01T10:40:00Z/b.gz", "v2")]);
    assert_eq!((claim.source_bucket.as_str(), claim.files[0].size_bytes), ("s3://raw-data-reservoir", 100));
    assert_eq!(claim.ts_to_process, at("2018-08-01T10:53:00Z"));
}

pub(super) async fn an_expired_lease_is_taken_over_and_worth_nothing(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let old = bench.claim_some().await;
    bench.outlive_lease();
    let new = bench.claim_some().await;
    assert!(new.taken_over && new.lease.fence > old.lease.fence);
    let before = bench.detail(new.lease.task).await;
    let (db, lease) = (&bench.db, &old.lease);
    let parking = Parking::default();
    let feature = old.runs[0].feature.clone();
    let features = request(&[("a", 1)]).sources.remove(0).features;
    assert_lost(db.complete(lease, &[done("a", 1)], None).await);
    assert_lost(db.finish_run(lease, &done("a", 1)).await);
    assert_lost(db.start_run(lease, &feature).await);
    assert_lost(db.release(lease, Span::ZERO, "").await);
    assert_lost(db.abandon(lease, "").await);
    assert_lost(db.park(lease, &parking).await);
    assert_lost(db.refresh(lease, &features).await);
    let mut heart = db.hearts().open().await.unwrap();
    assert_eq!(heart.beat(&[old.lease, new.lease], LEASE).await.unwrap(), [old.lease]);
    assert_eq!(bench.detail(new.lease.task).await, before);
    bench.finish(&new).await;
    assert_lost(db.complete(lease, &[done("a", 1)], None).await);
    assert_lost(db.release(&new.lease, Span::ZERO, "").await);
    assert_eq!(heart.beat(&[new.lease], LEASE).await.unwrap(), [new.lease]);
}

#[track_caller]
fn assert_lost<T: std::fmt::Debug>(result: Result<T, TasksError>) {
    assert!(matches!(result, Err(TasksError::LeaseLost { .. })), "{result:?}");
}

pub(super) async fn heartbeats_keep_a_claim(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    let mut heart = bench.db.hearts().open().await.unwrap();
    for _ in 0..10 {
        bench.clock.advance(Span::from_secs(45));
        assert_eq!(heart.beat(&[claim.lease], LEASE).await.unwrap(), []);
        assert!(bench.claim().await.is_none());
    }
    assert_eq!(heart.beat(&[], LEASE).await.unwrap(), []);
    bench.outlive_lease();
    assert!(bench.claim().await.is_some());
}

pub(super) async fn fences_grow_though_the_clock_does_not(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let mut last = Fence(0);
    for step in [0, 0, 5, -3, -3, 1] {
        bench.clock.advance(Span::from_secs(step));
        let claim = bench.claim_some().await;
        assert!(claim.lease.fence > last);
        last = claim.lease.fence;
        bench.db.release(&claim.lease, Span::from_secs(-10), "stop").await.unwrap();
    }
    assert!((last.0 - bench.db.now().await.unwrap().as_micros()).abs() < 10_000_000, "near the clock");
}

pub(super) async fn a_fence_far_ahead_keeps_its_task_waiting_and_no_other(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z"]).await;
    let ahead = bench.claim_some().await;
    bench.db.release(&ahead.lease, Span::from_days(-1), "stop").await.unwrap();
    bench.clock.advance(Span::from_secs(-7_200));
    let other = bench.claim_some().await;
    assert_ne!(other.lease.task, ahead.lease.task);
    bench.finish(&other).await;
    assert!(bench.claim().await.is_none());
    let row = bench.db.task(ahead.lease.task).await.unwrap().unwrap().task;
    let error = row.last_error.unwrap();
    assert!(error.starts_with("claimed while the clock was ahead by 2h"), "{error}");
    bench.clock.set(row.due_at.unwrap());
    let again = bench.claim_some().await;
    assert!(again.lease.task == ahead.lease.task && again.lease.fence > ahead.lease.fence);
}

pub(super) async fn completing_twice_is_completing_once(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    let ended = bench.finish(&claim).await;
    let row = bench.only().await;
    assert_eq!(bench.finish(&claim).await, ended);
    assert_eq!(bench.only().await, row);
}

pub(super) async fn a_file_that_arrives_meanwhile_is_not_lost(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "late.gz", "v1")]).await;
    bench.assert_state(claim.lease.task, TaskState::Running).await;
    let ended = bench.finish(&claim).await;
    assert!(ended.input_moved);
    assert_eq!((ended.state, ended.due_at), (TaskState::Waiting, Some(Bench::START)));
    let row = bench.only().await;
    assert_eq!((row.generation, row.done_generation), (Generation(2), Generation(1)));
    let again = bench.claim_some().await;
    assert_eq!((again.files.len(), again.runs.len()), (2, 2));
    // Parking and releasing lose it as little.
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "later.gz", "v1")]).await;
    let ended = bench.db.park(&again.lease, &Parking::default()).await.unwrap();
    assert_eq!(ended.state, TaskState::Waiting);
    assert_eq!(bench.claim_some().await.files.len(), 3);
}

pub(super) async fn a_refreshed_claim_goes_on_with_the_new_input(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "one.gz", "v2")]).await;
    let features = request(&[("a", 1), ("b", 1)]).sources.remove(0).features;
    let fresh = bench.db.refresh(&claim.lease, &features).await.unwrap();
    assert_eq!((fresh.lease, fresh.generation), (claim.lease, Generation(2)));
    assert_eq!((fresh.files[0].version.as_str(), fresh.runs.len()), ("v2", 2));
    let ended = bench.finish(&fresh).await;
    assert_eq!((ended.state, ended.input_moved), (TaskState::Done, false));
    assert_eq!(bench.only().await.done_generation, Generation(2));
}

pub(super) async fn a_released_task_costs_nothing(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    for _ in 0..20 {
        let claim = bench.claim_some().await;
        assert!(!claim.isolate);
        bench.db.start_run(&claim.lease, &claim.runs[0].feature).await.unwrap();
        bench.db.release(&claim.lease, Span::from_secs(30), "the store is away").await.unwrap();
        assert!(bench.claim().await.is_none());
        bench.clock.advance(Span::from_secs(30));
    }
    let row = bench.only().await;
    assert_eq!((row.state, row.claims_without_verdict), (TaskState::Waiting, 0));
    assert_eq!(row.last_error.as_deref(), Some("the store is away"));
    let claim = bench.claim_some().await;
    bench.db.release(&claim.lease, Span::from_days(1), "the store is away").await.unwrap();
    assert_eq!(bench.db.retry(&RetryRequest::default()).await.unwrap(), 1, "an operator need not wait");
    let claim = bench.claim_some().await;
    assert_eq!(claim.runs.iter().map(|run| run.attempts).max(), Some(0));
    bench.finish(&claim).await;
    let detail = bench.detail(claim.lease.task).await;
    assert_eq!(detail.task.last_error, None);
    assert!(detail.runs.iter().all(|run| run.claims_without_verdict == 0));
}

pub(super) async fn a_held_task_goes_back_to_what_it_was(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let task = bench.only().await.task;
    bench.drain().await;
    let hold = async || bench.db.hold(task, "rebuild", LEASE).await.unwrap();
    let before = bench.row(task).await;
    let held = hold().await.unwrap();
    assert!(held.runs.is_empty() && held.lease.fence > before.fence);
    assert!(hold().await.is_none(), "nobody else gets it");
    bench.db.complete(&held.lease, &[], None).await.unwrap();
    let after = bench.row(task).await;
    assert_eq!((after.state, after.done_generation), (TaskState::Done, before.done_generation));
    assert!(bench.claim().await.is_none());
    // A holder that dies leaves nothing behind.
    hold().await.unwrap();
    bench.outlive_lease();
    assert!(bench.claim().await.is_none());
    bench.assert_state(task, TaskState::Done).await;
    // What happens meanwhile is not lost.
    let held = hold().await.unwrap();
    super::lanes::backfill_august(&bench).await;
    bench.db.complete(&held.lease, &[], None).await.unwrap();
    let claim = bench.claim_some().await;
    assert_eq!(features_of(&claim), ["a"]);
    bench.finish(&claim).await;
    let held = hold().await.unwrap();
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "late.gz", "v1")]).await;
    bench.db.complete(&held.lease, &[], None).await.unwrap();
    assert_eq!(bench.claim_some().await.files.len(), 2);
}
