use super::bench::{Bench, features_of, file};
use crate::{Claim, RunState, TaskState};

/// A claim dies: its worker was killed.
async fn die(bench: &Bench) -> Claim {
    let claim = bench.claim_some().await;
    bench.outlive_lease();
    claim
}

pub(super) async fn eight_claims_without_a_verdict_park_the_task(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z"]).await;
    let task = bench.list().await[0].task;
    for number in 0..8 {
        let claim = die(&bench).await;
        assert_eq!((claim.lease.task, claim.claims_without_verdict), (task, number));
        assert_eq!(claim.isolate, number >= 2);
    }
    // The next claim parks it and goes on to the next task.
    let other = bench.claim_some().await;
    assert_ne!(other.lease.task, task);
    let row = bench.row(task).await;
    assert_eq!(row.state, TaskState::Parked);
    assert!(row.last_error.unwrap().contains("8 claims"));
    // A late file gives it another eight.
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "late.gz", "v1")]).await;
    let again = bench.claim_some().await;
    assert_eq!((again.lease.task, again.isolate), (task, false));
}

pub(super) async fn the_guilty_run_is_found_and_parked_alone(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    die(&bench).await;
    die(&bench).await;
    for number in 0..3 {
        let claim = bench.claim_some().await;
        assert!(claim.isolate, "claim {number}");
        // The first feature gets through, the second kills the process.
        if number == 0 {
            assert_eq!(features_of(&claim), ["a", "b"]);
            bench.db.start_run(&claim.lease, &claim.runs[0].feature).await.unwrap();
            bench.db.finish_run(&claim.lease, &super::bench::done("a", 1)).await.unwrap();
        }
        let guilty = claim.runs.last().unwrap();
        assert_eq!(guilty.feature.as_str(), "b");
        bench.db.start_run(&claim.lease, &guilty.feature).await.unwrap();
        bench.outlive_lease();
    }
    // Nothing is left to do: the next claim finds the task done, with the guilty run parked.
    assert!(bench.claim().await.is_none());
    let detail = bench.detail(bench.only().await.task).await;
    assert_eq!((detail.task.state, detail.task.claims_without_verdict), (TaskState::Done, 0));
    let states: Vec<_> = detail.runs.iter().map(|run| (run.feature.as_str(), run.state)).collect();
    assert_eq!(states, [("a", RunState::Done), ("b", RunState::Parked)]);
    assert!(detail.runs[1].error.as_deref().unwrap().contains("3 claims"));
    assert!(detail.task.last_error.unwrap().starts_with("b: "));
    // New input, new luck.
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "late.gz", "v1")]).await;
    let claim = bench.claim_some().await;
    assert_eq!((features_of(&claim), claim.isolate), (vec!["a", "b"], false));
}

pub(super) async fn an_abandoned_claim_counts(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    for _ in 0..2 {
        let claim = bench.claim_some().await;
        bench.db.abandon(&claim.lease, "past the hard deadline").await.unwrap();
    }
    for _ in 0..3 {
        let claim = bench.claim_some().await;
        assert!(claim.isolate);
        let first = &claim.runs[0].feature;
        assert_eq!(first.as_str(), "a");
        bench.db.start_run(&claim.lease, first).await.unwrap();
        bench.db.abandon(&claim.lease, "past the hard deadline").await.unwrap();
    }
    let claim = bench.claim_some().await;
    assert_eq!((features_of(&claim), claim.isolate), (vec!["b"], false));
    bench.finish(&claim).await;
    let detail = bench.detail(claim.lease.task).await;
    assert_eq!((detail.task.state, detail.task.parked_runs), (TaskState::Done, 1));
}
