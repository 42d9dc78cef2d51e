use neartime_model::{FeatureVersion, Generation};

use super::bench::{Bench, at, done, feature, feature_name, features_of, file, source_name, worker_source};
use crate::{BackfillRequest, Lane, RunState, TaskState};

fn backfill(name: &str, version: u32, from: &str, to: &str) -> BackfillRequest {
    BackfillRequest {
        feature: feature_name(name),
        version: FeatureVersion(version),
        source: source_name("events"),
        from: at(from),
        to: at(to),
    }
}

pub(super) async fn a_new_feature_runs_on_later_tasks_and_on_older_ones_by_backfill(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z", "2018-08-01T11:00:00Z"]).await;
    bench.drain().await;
    bench.db.declare_features(&[feature("c", 1)]).await.unwrap();
    let binary = [("a", 1), ("b", 1), ("c", 1)];
    assert_eq!(bench.db.arm_missing_runs(&worker_source("events", &binary)).await.unwrap(), 0);
    assert!(bench.claim_as(&binary).await.is_none(), "older tasks are left alone");
    bench.chunks(&["2018-08-01T11:10:00Z"]).await;
    let claim = bench.claim_as(&binary).await.unwrap();
    assert_eq!(features_of(&claim), ["a", "b", "c"]);
    bench.finish(&claim).await;
    let armed = bench.db.backfill(&backfill("c", 1, "2018-08-01T10:50:00Z", "2018-08-01T11:10:00Z")).await;
    assert_eq!(armed.unwrap(), 2);
    for start in ["2018-08-01T10:50:00Z", "2018-08-01T11:00:00Z"] {
        let claim = bench.claim_as(&binary).await.unwrap();
        assert_eq!((claim.chunk.start(), features_of(&claim)), (at(start), vec!["c"]));
        assert_eq!((claim.lane, claim.generation), (Lane::Backfill, Generation(1)));
        bench.finish(&claim).await;
    }
    assert!(bench.claim_as(&binary).await.is_none());
    let unknown = bench.db.backfill(&backfill("d", 1, "2018-08-01", "2018-08-02")).await;
    assert!(unknown.unwrap_err().to_string().contains("`d`"));
}

pub(super) async fn a_new_version_runs_on_what_an_older_binary_completed(bench: Bench) {
    let bench = bench.declared().await;
    let (old, new) = ([("a", 1), ("b", 1)], [("a", 2), ("b", 1), ("c", 1)]);
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    bench.drain().await;
    bench.db.declare_features(&[feature("a", 2), feature("c", 1)]).await.unwrap();
    bench.chunks(&["2018-08-01T10:50:00Z", "2018-08-01T11:00:00Z"]).await;
    for _ in 0..2 {
        let claim = bench.claim_as(&old).await.unwrap();
        bench.finish(&claim).await;
    }
    let arm =
        async |features: &[(&str, u32)]| bench.db.arm_missing_runs(&worker_source("events", features)).await.unwrap();
    assert_eq!(arm(&old).await, 0);
    assert_eq!(arm(&new).await, 2);
    assert_eq!(arm(&new).await, 0);
    for _ in 0..2 {
        let claim = bench.claim_as(&new).await.unwrap();
        assert_eq!((features_of(&claim), claim.runs[0].version), (vec!["a", "c"], FeatureVersion(2)));
        bench.finish(&claim).await;
    }
    assert!(bench.claim_as(&new).await.is_none(), "the task that completed before is left alone");
    assert_eq!(arm(&new).await, 0);
}

pub(super) async fn an_older_binary_leaves_newer_runs_alone(bench: Bench) {
    let bench = bench.declared().await;
    let (old, new) = ([("a", 1), ("b", 1)], [("a", 2), ("b", 1)]);
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let task = bench.only().await.task;
    bench.db.declare_features(&[feature("a", 2)]).await.unwrap();
    let claim = bench.claim_as(&old).await.unwrap();
    bench.finish(&claim).await;
    assert_eq!(bench.db.arm_missing_runs(&worker_source("events", &new)).await.unwrap(), 1);
    bench.assert_state(task, TaskState::Waiting).await;
    // The older binary has nothing to do here, and does not spin.
    assert!(bench.claim_as(&old).await.is_none());
    bench.assert_state(task, TaskState::Done).await;
    // The newer one finds it again.
    assert_eq!(bench.db.arm_missing_runs(&worker_source("events", &new)).await.unwrap(), 1);
    let claim = bench.claim_as(&new).await.unwrap();
    assert_eq!(features_of(&claim), ["a"]);
    bench.finish(&claim).await;
    // New input is anybody's, and ends right whoever takes it.
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "late.gz", "v1")]).await;
    let claim = bench.claim_as(&old).await.unwrap();
    assert_eq!((features_of(&claim), claim.runs[0].version), (vec!["a", "b"], FeatureVersion(1)));
    bench.db.complete(&claim.lease, &[done("a", 1), done("b", 1)], None).await.unwrap();
    assert_eq!(bench.db.arm_missing_runs(&worker_source("events", &new)).await.unwrap(), 1);
    let claim = bench.claim_as(&new).await.unwrap();
    bench.finish(&claim).await;
    let run = bench.detail(task).await.runs.remove(0);
    assert_eq!((run.version, run.state), (FeatureVersion(2), RunState::Done));
    assert_eq!(run.done_generation, Generation(2));
    let refused = bench.db.backfill(&backfill("a", 1, "2018-08-01", "2018-08-02")).await.unwrap_err();
    assert!(refused.to_string().contains("version 2"), "{refused}");
}
