use neartime_model::{FilePath, Span};

use super::bench::{Bench, at, failed, feature_name, file, source, source_name};
use crate::{FeaturePulse, MAX_RUN_ATTEMPTS, Parking, SourcePulse, TaskId, TaskQuery, TaskState};

pub(super) async fn tasks_are_listed_in_pages(bench: Bench) {
    let bench = bench.declared().await;
    let mut files = Vec::new();
    for hour in 0..12 {
        for path in ["p/", "q/"] {
            files.push(file(path, &format!("2018-08-01T{hour:02}:00:00Z"), "one.gz", "v1"));
        }
    }
    bench.register(files).await;
    let first = bench.claim_some().await;
    bench.finish(&first).await;
    let all = bench.list().await;
    assert_eq!(all.len(), 24);
    assert!(all.is_sorted_by_key(|row| row.cursor()));
    let mut paged = Vec::new();
    let mut page = TaskQuery { limit: 5, ..TaskQuery::default() };
    loop {
        let rows = bench.db.tasks(&page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.after = Some(last.cursor());
        paged.extend(rows);
    }
    assert_eq!(paged, all);
    let count = async |query: TaskQuery| bench.db.tasks(&query).await.unwrap().len();
    assert_eq!(count(TaskQuery { state: Some(TaskState::Done), ..TaskQuery::default() }).await, 1);
    assert_eq!(count(TaskQuery { state: Some(TaskState::Waiting), limit: 7, ..TaskQuery::default() }).await, 7);
    assert_eq!(count(TaskQuery { file_path: Some(FilePath::new("q/")), ..TaskQuery::default() }).await, 12);
    assert_eq!(count(TaskQuery { source: Some(source_name("other")), ..TaskQuery::default() }).await, 0);
    let (from, to) = (Some(at("2018-08-01T02:00:00Z")), Some(at("2018-08-01T04:00:00Z")));
    assert_eq!(count(TaskQuery { from, to, ..TaskQuery::default() }).await, 4);
    assert!(bench.db.task(TaskId(-1)).await.unwrap().is_none());
}

pub(super) async fn features_show_how_far_they_are(bench: Bench) {
    let bench = bench.declared().await;
    let standing = bench.db.features().await.unwrap();
    assert_eq!(standing.iter().map(|feature| feature.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((standing[0].newest_done_chunk, standing[0].rows), (None, 0));
    bench.chunks(&["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z"]).await;
    let claim = bench.claim_some().await;
    bench.finish(&claim).await;
    let claim = bench.claim_some().await;
    let outcomes = [super::bench::done("a", 1), failed("b", Span::from_secs(10))];
    bench.db.complete(&claim.lease, &outcomes, None).await.unwrap();
    let standing = bench.db.features().await.unwrap();
    let (a, b) = (&standing[0], &standing[1]);
    assert_eq!(
        (a.newest_done_chunk, a.newest_done_end),
        (Some(at("2018-08-01T10:50:00Z")), Some(at("2018-08-01T11:00:00Z")))
    );
    assert_eq!((a.rows, a.done, a.waiting, a.parked), (20, 2, 0, 0));
    assert_eq!((b.newest_done_chunk, b.rows), (Some(at("2018-08-01T10:40:00Z")), 10));
    assert_eq!((b.done, b.waiting, b.newest.0), (1, 1, 1));
}

/// Whoever looks for what stands parked finds both kinds; what each task's own state is stays what it is.
pub(super) async fn parked_tasks_are_listed_with_those_that_have_parked_runs(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:00:00Z", "2018-08-01T10:10:00Z", "2018-08-01T10:20:00Z"]).await;
    let finished = bench.claim_some().await;
    bench.finish(&finished).await;
    let half = bench.claim_some().await;
    let outcomes = [super::bench::done("a", 1), failed("b", Span::ZERO)];
    bench.db.complete(&half.lease, &outcomes, None).await.unwrap();
    for _ in 1..MAX_RUN_ATTEMPTS {
        let again = bench.claim_some().await;
        bench.db.complete(&again.lease, &[failed("b", Span::ZERO)], None).await.unwrap();
    }
    let parked = bench.claim_some().await;
    bench.db.park(&parked.lease, &Parking::default()).await.unwrap();
    let parked = TaskQuery { state: Some(TaskState::Parked), ..TaskQuery::default() };
    let listed = bench.db.tasks(&parked).await.unwrap();
    let shown: Vec<_> = listed.iter().map(|row| (row.chunk.start().to_string(), row.state, row.parked_runs)).collect();
    let expected = [("2018-08-01T10:10:00Z", TaskState::Done, 1), ("2018-08-01T10:20:00Z", TaskState::Parked, 0)];
    assert_eq!(shown, expected.map(|(start, state, runs)| (start.to_owned(), state, runs)));
    let second = TaskQuery { after: Some(listed[0].cursor()), ..parked.clone() };
    assert_eq!(bench.db.tasks(&second).await.unwrap(), listed[1..]);
    assert!(bench.db.tasks(&TaskQuery { source: Some(source_name("other")), ..parked }).await.unwrap().is_empty());
}

/// Its tasks wait for the day when a feature reads it; until then nobody is late with them.
pub(super) async fn tasks_that_no_feature_reads_are_not_due(bench: Bench) {
    bench.db.declare_sources(&[source("events")]).await.unwrap();
    bench.chunks(&["2018-08-01T10:00:00Z", "2018-08-01T10:10:00Z"]).await;
    assert!(bench.claim_as(&[]).await.is_none());
    let pulse = |due: u64, waiting: u64, oldest_due_at: Option<&str>| SourcePulse {
        source: source_name("events"),
        due,
        waiting,
        running: 0,
        parked: 0,
        oldest_due_at: oldest_due_at.map(at),
    };
    assert_eq!(bench.db.pulse().await.unwrap().sources, [pulse(0, 2, None)]);
    let bench = bench.declared().await;
    assert_eq!(bench.db.pulse().await.unwrap().sources, [pulse(2, 0, Some("2018-08-01T10:13:00Z"))]);
    assert_eq!(bench.drain().await, 2, "and they run with the first feature");
}

pub(super) async fn the_pulse_tells_what_is_unfinished(bench: Bench) {
    let bench = bench.declared().await;
    let idle = bench.db.pulse().await.unwrap();
    assert_eq!((idle.at, idle.sources.len()), (Bench::START, 0));
    let starts = ["10:00", "10:10", "10:20", "10:30", "10:40", "10:50"].map(|time| format!("2018-08-01T{time}:00Z"));
    bench.chunks(&starts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    bench.chunks(&["2018-08-02T00:00:00Z"]).await;
    let finished = bench.claim_some().await;
    bench.finish(&finished).await;
    let parked = bench.claim_some().await;
    bench.db.park(&parked.lease, &Parking::default()).await.unwrap();
    let half = bench.claim_some().await;
    let outcomes = [super::bench::done("a", 1), failed("b", Span::from_days(1))];
    bench.db.complete(&half.lease, &outcomes, None).await.unwrap();
    bench.claim_some().await;
    let pulse = bench.db.pulse().await.unwrap();
    let unfinished = SourcePulse {
        source: source_name("events"),
        due: 2,
        waiting: 2,
        running: 1,
        parked: 1,
        oldest_due_at: Some(at("2018-08-01T10:53:00Z")),
    };
    assert_eq!(pulse.sources, [unfinished]);
    let far = |name: &str, newest: &str, end: &str, waiting: u64| FeaturePulse {
        name: feature_name(name),
        newest_done_chunk: Some(at(newest)),
        newest_done_end: Some(at(end)),
        waiting,
        parked: 0,
    };
    // The claims that are open, or were parked, have runs that wait.
    let a = far("a", "2018-08-01T10:20:00Z", "2018-08-01T10:30:00Z", 2);
    let b = far("b", "2018-08-01T10:00:00Z", "2018-08-01T10:10:00Z", 3);
    assert_eq!(pulse.features, [a, b]);
    // It agrees with what counts everything.
    let standing = bench.db.features().await.unwrap();
    for (pulse, standing) in pulse.features.iter().zip(&standing) {
        assert_eq!((pulse.waiting, pulse.parked), (standing.waiting, standing.parked));
        assert_eq!(pulse.newest_done_end, standing.newest_done_end);
    }
}
