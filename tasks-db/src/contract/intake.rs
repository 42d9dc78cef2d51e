use neartime_model::{ChunkWidth, FileKey, FilePath, FileVersion, Generation, Span};

use super::bench::{Bench, at, failed, file, source_name};
use crate::{DueRule, FileRegistration, Parking, Registered, Registration, TaskState};

pub(super) async fn the_seeds_paths_give_its_two_rows(bench: Bench) {
    let bench = bench.declared().await;
    let names = ["104005", "104234", "104959", "105000", "105417", "105958"];
    let files = names.map(|time| {
        let instant = format!("2018-08-01T{}:{}:{}Z", &time[..2], &time[2..4], &time[4..]);
        FileRegistration {
            key: FileKey::new(format!("olx/android/2018/08/01/201808-01-{time}.gz")),
            version: FileVersion::new("etag"),
            size_bytes: 1,
            source_bucket: "s3://raw-data-reservoir".into(),
            file_path: FilePath::new("in/horizontals/olx/android/"),
            chunk: ChunkWidth::TEN_MINUTES.chunk_of(at(&instant)),
        }
    });
    let registered = bench.register(files.to_vec()).await;
    assert_eq!(registered, Registered { files: 6, created: 2, rearmed: 0 });
    let rows = bench.list().await;
    let literal: Vec<_> = rows
        .iter()
        .map(|row| {
            assert_eq!(row.source_bucket, "s3://raw-data-reservoir");
            assert_eq!(row.file_path.as_str(), "in/horizontals/olx/android/");
            assert_eq!((row.state, row.generation), (TaskState::Waiting, Generation(3)));
            (row.chunk.start().to_string(), row.ts_to_process.to_string())
        })
        .collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        literal,
        [pair("2018-08-01T10:40:00Z", "2018-08-01T10:53:00Z"), pair("2018-08-01T10:50:00Z", "2018-08-01T11:03:00Z")]
    );
}

pub(super) async fn the_same_version_changes_nothing(bench: Bench) {
    let bench = bench.declared().await;
    let files = vec![file("p/", "2018-08-01T10:40:00Z", "one.gz", "v1")];
    bench.register(files.clone()).await;
    bench.drain().await;
    let before = bench.only().await;
    assert_eq!(bench.register(files).await, Registered::default());
    assert_eq!(bench.only().await, before);
    assert_eq!(bench.register(Vec::new()).await, Registered::default());
}

pub(super) async fn of_many_who_see_a_version_one_registers_it(bench: Bench) {
    let bench = bench.declared().await;
    let files: Vec<_> = (0..40).map(|name| file("p/", "2018-08-01T10:40:00Z", &format!("{name}.gz"), "v1")).collect();
    let hands: Vec<_> = (0..8)
        .map(|_| {
            let (bench, files) = (bench.clone(), files.clone());
            tokio::spawn(async move { bench.register(files).await })
        })
        .collect();
    let mut all = Registered::default();
    for hand in hands {
        let registered = hand.await.unwrap();
        all.files += registered.files;
        all.created += registered.created;
        all.rearmed += registered.rearmed;
    }
    assert_eq!(all, Registered { files: 40, created: 1, rearmed: 0 });
    assert_eq!(bench.only().await.generation, Generation(40));
}

pub(super) async fn a_version_seen_before_is_news_again(bench: Bench) {
    let bench = bench.declared().await;
    let version = |version| file("p/", "2018-08-01T10:40:00Z", "one.gz", version);
    bench.register(vec![version("v1")]).await;
    bench.register(vec![version("v2")]).await;
    bench.register(vec![version("v1")]).await;
    assert_eq!(bench.only().await.generation, Generation(3));
    // In one call too, one after the other; what is the newest already is none.
    let registered = bench.register(vec![version("v1"), version("v2"), version("v2"), version("v1")]).await;
    assert_eq!(registered.files, 2);
    assert_eq!(bench.only().await.generation, Generation(5));
    assert_eq!(bench.claim_some().await.files[0].version.as_str(), "v1");
}

pub(super) async fn a_chunk_that_is_not_due_stays_so(bench: Bench) {
    let bench = bench.declared().await;
    bench.clock.set(at("2018-08-01T10:45:00Z"));
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    bench.clock.set(at("2018-08-01T10:52:59Z"));
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "two.gz", "v1")]).await;
    assert!(bench.claim().await.is_none());
    assert_eq!(bench.db.next_due_at(&[source_name("events")]).await.unwrap(), Some(at("2018-08-01T10:53:00Z")));
    bench.clock.set(at("2018-08-01T10:53:00Z"));
    assert_eq!(bench.claim_some().await.files.len(), 2);
}

pub(super) async fn a_late_file_arms_a_task_in_any_state(bench: Bench) {
    let bench = bench.declared().await;
    let late = |name: &str| vec![file("p/", "2018-08-01T10:40:00Z", name, "v1")];
    bench.register(late("one.gz")).await;
    let task = bench.only().await.task;
    // Waiting for a retry: due at once, and the run has all its tries again.
    let claim = bench.claim_some().await;
    let day = Span::from_days(1);
    bench.db.complete(&claim.lease, &[failed("a", day), failed("b", day)], None).await.unwrap();
    assert!(bench.claim().await.is_none());
    assert_eq!(bench.register(late("two.gz")).await, Registered { files: 1, created: 0, rearmed: 1 });
    let claim = bench.claim_some().await;
    assert_eq!(claim.runs.iter().map(|run| run.attempts).collect::<Vec<_>>(), [0, 0]);
    // Done.
    bench.finish(&claim).await;
    bench.assert_state(task, TaskState::Done).await;
    bench.register(late("three.gz")).await;
    let claim = bench.claim_some().await;
    assert_eq!((claim.runs.len(), claim.files.len(), claim.generation), (2, 3, Generation(3)));
    // Parked.
    bench.db.park(&claim.lease, &Parking { error: "no".into(), missing: Vec::new() }).await.unwrap();
    bench.assert_state(task, TaskState::Parked).await;
    assert!(bench.claim().await.is_none());
    bench.register(late("four.gz")).await;
    assert_eq!(bench.claim_some().await.runs.len(), 2);
}

pub(super) async fn landing_is_due_at_once_and_again(bench: Bench) {
    let bench = bench.declared().await;
    bench.clock.set(at("2018-08-01T09:05:00Z"));
    let land = |name: &str| Registration {
        source: source_name("events"),
        due: DueRule::Landing,
        files: vec![file("p/", "2018-08-01T09:00:00Z", name, "v1")],
    };
    bench.db.register(&land("one.gz")).await.unwrap();
    assert_eq!(bench.only().await.ts_to_process, at("2018-08-01T09:05:00Z"));
    assert_eq!(bench.drain().await, 1);
    bench.clock.set(at("2018-08-01T09:07:00Z"));
    bench.db.register(&land("two.gz")).await.unwrap();
    assert_eq!(bench.only().await.due_at, Some(at("2018-08-01T09:07:00Z")));
    assert_eq!(bench.drain().await, 1);
}
