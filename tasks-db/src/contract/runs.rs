use neartime_model::{ContentOrder, FeatureVersion, Generation, Span};

use super::bench::{Bench, done, failed, features_of, outcome};
use crate::{Parking, ReasonCount, RunEnd, RunState, TaskState};

pub(super) async fn a_failing_run_is_parked_alone_after_eight(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let wait = Span::from_secs(10);
    let mut claim = bench.claim_some().await;
    assert_eq!(features_of(&claim), ["a", "b"]);
    let mut ended = bench.db.complete(&claim.lease, &[done("a", 1), failed("b", wait)], None).await.unwrap();
    for attempts in 1..8 {
        assert_eq!(ended.state, TaskState::Waiting);
        assert_eq!(ended.due_at, Some(bench.db.now().await.unwrap() + wait));
        assert!(bench.claim().await.is_none(), "back-off");
        bench.clock.advance(wait);
        claim = bench.claim_some().await;
        assert_eq!((features_of(&claim), claim.runs[0].attempts), (vec!["b"], attempts));
        ended = bench.db.complete(&claim.lease, &[failed("b", wait)], None).await.unwrap();
    }
    assert_eq!(ended.state, TaskState::Done);
    bench.clock.advance(Span::from_days(1));
    assert!(bench.claim().await.is_none());
    let detail = bench.detail(claim.lease.task).await;
    assert_eq!((detail.task.parked_runs, detail.task.done_generation), (1, Generation(1)));
    assert_eq!(detail.task.last_error.as_deref(), Some("b: it broke"));
    assert_eq!(
        (detail.runs[0].state, detail.runs[0].rows, detail.runs[0].bytes),
        (RunState::Done, Some(10), Some(1000))
    );
    assert_eq!((detail.runs[1].state, detail.runs[1].attempts), (RunState::Parked, 8));
    assert_eq!(detail.runs[1].error.as_deref(), Some("it broke"));
}

pub(super) async fn a_service_that_is_away_costs_no_attempt(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let wait = Span::from_secs(10);
    let delayed = || outcome("b", 1, RunEnd::Delayed { note: "online store is away".into(), retry_after: wait });
    let claim = bench.claim_some().await;
    bench.db.complete(&claim.lease, &[done("a", 1), delayed()], None).await.unwrap();
    for _ in 0..20 {
        assert!(bench.claim().await.is_none());
        bench.clock.advance(wait);
        let claim = bench.claim_some().await;
        assert_eq!((features_of(&claim), claim.runs[0].attempts), (vec!["b"], 0));
        bench.db.complete(&claim.lease, &[delayed()], None).await.unwrap();
    }
    assert_eq!(bench.only().await.last_error.as_deref(), Some("b: online store is away"));
}

pub(super) async fn a_superseded_run_is_done_and_shown(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    let found = ContentOrder { version: FeatureVersion(2), generation: Generation(1) };
    let superseded = outcome("a", 1, RunEnd::Superseded { found });
    let mut counted = done("b", 1);
    counted.dropped = vec![count("null_entity", 3), count("key_too_long", 0)];
    let ended = bench.db.complete(&claim.lease, &[superseded, counted], None).await.unwrap();
    assert_eq!(ended.state, TaskState::Done);
    let detail = bench.detail(claim.lease.task).await;
    assert_eq!(detail.runs[0].state, RunState::Superseded);
    assert!(detail.runs[0].error.as_deref().unwrap().contains("version 2"));
    assert_eq!(detail.runs[1].dropped, [count("null_entity", 3)]);
}

pub(super) async fn a_task_is_lifted_above_rows_that_the_database_does_not_know(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    let found = ContentOrder { version: FeatureVersion(1), generation: Generation(5) };
    let unknown = outcome("a", 1, RunEnd::Superseded { found });
    let ended = bench.db.complete(&claim.lease, &[unknown, done("b", 1)], None).await.unwrap();
    assert_eq!((ended.state, ended.input_moved), (TaskState::Waiting, true));
    let again = bench.claim_some().await;
    assert_eq!((again.generation, features_of(&again)), (Generation(6), vec!["a", "b"]));
    assert_eq!(bench.finish(&again).await.state, TaskState::Done);
}

fn count(reason: &str, count: u64) -> ReasonCount {
    ReasonCount { reason: reason.into(), count }
}

pub(super) async fn an_isolated_run_ends_before_its_claim(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    for run in [done("a", 1), failed("b", Span::from_secs(10))] {
        bench.db.start_run(&claim.lease, &run.feature).await.unwrap();
        bench.db.finish_run(&claim.lease, &run).await.unwrap();
    }
    let ended = bench.db.complete(&claim.lease, &[], None).await.unwrap();
    assert_eq!(ended.state, TaskState::Waiting);
    assert_eq!(bench.only().await.last_error.as_deref(), Some("b: it broke"));
    bench.clock.advance(Span::from_secs(10));
    let claim = bench.claim_some().await;
    assert_eq!((features_of(&claim), claim.runs[0].attempts), (vec!["b"], 1));
}

pub(super) async fn unreadable_input_parks_the_task(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    let parking = Parking { error: "cannot read\0 it".into(), missing: Vec::new() };
    let ended = bench.db.park(&claim.lease, &parking).await.unwrap();
    assert_eq!((ended.state, ended.due_at), (TaskState::Parked, None));
    bench.clock.advance(Span::from_days(10));
    assert!(bench.claim().await.is_none());
    let row = bench.only().await;
    assert_eq!(row.last_error.as_deref(), Some("cannot read\u{fffd} it"));
    assert_eq!(bench.db.retry(&crate::RetryRequest::default()).await.unwrap(), 1);
    let claim = bench.claim_some().await;
    assert_eq!((claim.generation, claim.runs.len()), (Generation(1), 2));
}
