use neartime_model::{FileKey, Generation};

use super::bench::{Bench, done, file, source_name};
use crate::{
    Claim, FileState, QuarantineExample, QuarantineQuery, QuarantineRow, QuarantinedFile, ReadSummary, ReasonCount,
    RetryRequest, TaskState,
};

fn query(limit: u32) -> QuarantineQuery {
    QuarantineQuery { source: None, task: None, after: None, limit }
}

async fn all(bench: &Bench) -> Vec<QuarantineRow> {
    bench.db.quarantine(&query(u32::MAX)).await.unwrap()
}

async fn finish(bench: &Bench, claim: &Claim, read: &ReadSummary) {
    bench.db.complete(&claim.lease, &[done("a", 1), done("b", 1)], Some(read)).await.unwrap();
}

fn bad_line(line: u64, reason: &str) -> QuarantineExample {
    QuarantineExample {
        key: FileKey::new("p/one.gz"),
        line: Some(line),
        column: None,
        reason: reason.into(),
        text: "{\"id\": 1".into(),
    }
}

fn count(reason: &str, count: u64) -> ReasonCount {
    ReasonCount { reason: reason.into(), count }
}

pub(super) async fn broken_files_are_tried_again_by_a_retry(bench: Bench) {
    let bench = bench.declared().await;
    let input = |name: &str| file("p/", "2018-08-01T10:40:00Z", name, "v1");
    bench.register(vec![input("fine.gz"), input("torn.gz")]).await;
    let torn = FileKey::new("p/2018-08-01T10:40:00Z/torn.gz");
    let read = ReadSummary {
        quarantined_files: vec![QuarantinedFile { key: torn.clone(), reason: "checksum does not match".into() }],
        ..ReadSummary::default()
    };
    let claim = bench.claim_some().await;
    finish(&bench, &claim, &read).await;
    let detail = bench.detail(claim.lease.task).await;
    assert_eq!((detail.task.state, detail.task.quarantined_files), (TaskState::Done, 1));
    assert_eq!(detail.files[1].state, FileState::Quarantined);
    assert_eq!(detail.files[1].reason.as_deref(), Some("checksum does not match"));
    assert_eq!(detail.counts, [count("checksum does not match", 1)]);
    let rows = all(&bench).await;
    assert_eq!((rows.len(), &rows[0].entry.key, rows[0].entry.line), (1, &torn, None));
    assert_eq!(bench.db.retry(&RetryRequest::default()).await.unwrap(), 1);
    let claim = bench.claim_some().await;
    assert_eq!((claim.files.len(), claim.generation, claim.runs.len()), (2, Generation(3), 2));
    finish(&bench, &claim, &ReadSummary::default()).await;
    let detail = bench.detail(claim.lease.task).await;
    assert_eq!((detail.task.quarantined_files, detail.files[1].state), (0, FileState::Present));
    assert!(all(&bench).await.is_empty() && detail.counts.is_empty());
}

pub(super) async fn the_last_reading_replaces_the_one_before(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    let read = ReadSummary {
        lines: 12,
        rows: 10,
        counts: vec![count("not_json", 2), count("never", 0)],
        examples: vec![bad_line(3, "not_json"), bad_line(7, "not_json")],
        ..ReadSummary::default()
    };
    finish(&bench, &claim, &read).await;
    let detail = bench.detail(claim.lease.task).await;
    assert_eq!((detail.lines, detail.rows), (Some(12), Some(10)));
    assert_eq!(detail.counts, [count("not_json", 2)]);
    let rows = all(&bench).await;
    assert_eq!(rows.iter().map(|row| row.entry.line).collect::<Vec<_>>(), [Some(3), Some(7)]);
    assert_eq!((rows[0].source.as_str(), rows[0].file_path.as_str()), ("events", "p/"));
    assert_eq!(rows[0].entry.text, "{\"id\": 1");
    bench.register(vec![file("p/", "2018-08-01T10:40:00Z", "one.gz", "v2")]).await;
    let claim = bench.claim_some().await;
    let read = ReadSummary { lines: 12, rows: 12, ..ReadSummary::default() };
    finish(&bench, &claim, &read).await;
    assert!(all(&bench).await.is_empty());
    assert_eq!(bench.detail(claim.lease.task).await.rows, Some(12));
}

pub(super) async fn a_hundred_examples_and_exact_counts(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    let mut examples: Vec<_> = (1..=250).map(|line| bad_line(line, "not_json")).collect();
    examples.push(bad_line(251, "too_long"));
    let counts = vec![count("not_json", 1_000_000), count("too_long", 1)];
    let read = ReadSummary { counts: counts.clone(), examples, ..ReadSummary::default() };
    finish(&bench, &claim, &read).await;
    assert_eq!(bench.detail(claim.lease.task).await.counts, counts);
    let rows = all(&bench).await;
    assert_eq!((rows.len(), rows[99].entry.line, rows[100].entry.line), (101, Some(100), Some(251)));
    let mut page = query(60);
    let mut paged = Vec::new();
    loop {
        let rows = bench.db.quarantine(&page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.after = Some(last.cursor);
        paged.extend(rows);
    }
    assert_eq!(paged, rows);
    let other = QuarantineQuery { source: Some(source_name("other")), ..query(10) };
    assert!(bench.db.quarantine(&other).await.unwrap().is_empty());
    let this = QuarantineQuery { source: Some(source_name("events")), task: Some(claim.lease.task), ..query(10) };
    assert_eq!(bench.db.quarantine(&this).await.unwrap().len(), 10);
}

pub(super) async fn text_is_cut_and_cleaned(bench: Bench) {
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    let claim = bench.claim_some().await;
    let mut example = bad_line(1, "not_json");
    // 1 + 2·n bytes: the cut falls inside a character.
    example.text = format!("\0{}", "\u{e9}".repeat(500));
    example.column = Some("user\"; drop table tasks; --".into());
    let read = ReadSummary { examples: vec![example], ..ReadSummary::default() };
    finish(&bench, &claim, &read).await;
    let entry = all(&bench).await.remove(0).entry;
    assert_eq!(entry.text, format!("\u{fffd}{}", "\u{e9}".repeat(99)));
    assert_eq!(entry.column.as_deref(), Some("user\"; drop table tasks; --"));
}
