use super::*;

const DOCUMENTED: &str = include_str!("../../../docs/metrics.md");

/// Metrics with a value in every family.
fn all() -> Metrics {
    let metrics = Metrics::default();
    let (source, feature) = (SourceName::new("visits").unwrap(), FeatureName::new("user_sites").unwrap());
    let shard = ShardLabel { source: source.clone(), stream: "events".to_owned(), shard: "shardId-0".to_owned() };
    let took = Duration::from_millis(1_500);
    metrics.begin_source(&source, Span::from_mins(10));
    metrics.discovered(&source, "listing", 3);
    metrics.discovery_failed(&source, "queue");
    metrics.queue_messages("landed", "registered", 2);
    metrics.stream_records(&source, "taken", 2);
    metrics.stream_gap(&shard);
    metrics.stream_behind(&shard, Some(Span::from_secs(2)));
    metrics.claimed(&source, took);
    metrics.task_ended(&source, "done");
    metrics.chunk_took(&source, took);
    metrics.run_ended(&feature, "done", 7);
    metrics.retry(&source, "error");
    metrics.read(&source, 10, 9);
    metrics.refused(&source, "not_json", 1);
    metrics.noted(&source, "duplicate", 1);
    metrics.feature_dropped(&feature, "null_entity", 1);
    metrics.file_quarantined(&source);
    metrics.database_is_up(Span::from_secs(1));
    metrics.tasks(&source, "due", 4);
    metrics.oldest_due_age(&source, Span::from_secs(90));
    metrics.feature_runs(&feature, 2, 1);
    metrics.feature_age(&feature, Span::from_secs(700));
    metrics.report_age(Some(Span::from_mins(10)));
    metrics
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_there() {
    let text = all().encode();
    let sampled: std::collections::BTreeSet<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(|name| name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count"))
        .collect();
    let rows =
        DOCUMENTED.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| row.starts_with("neartime_"));
    let documented: std::collections::BTreeSet<_> = rows.filter_map(|row| row.split(['{', '`']).next()).collect();
    assert_eq!(sampled, documented);
}

#[test]
fn values_stand_as_prometheus_reads_them() {
    let text = all().encode();
    for line in [
        "neartime_files_registered_total{source=\"visits\",channel=\"listing\"} 3",
        "neartime_stream_millis_behind_latest{source=\"visits\",stream=\"events\",shard=\"shardId-0\"} 2000.0",
        "neartime_step_seconds_count{step=\"claim\"} 1",
        "neartime_step_seconds_sum{step=\"claim\"} 1.5",
        "neartime_chunk_width_seconds{source=\"visits\"} 600.0",
        "neartime_tasks{source=\"visits\",state=\"due\"} 4.0",
        "neartime_oldest_due_age_seconds{source=\"visits\"} 90.0",
        "neartime_task_database_up{} 1.0",
        "neartime_report_age_seconds{} 600.0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn what_is_no_longer_known_is_no_longer_shown() {
    let metrics = all();
    let shard = ShardLabel {
        source: SourceName::new("visits").unwrap(),
        stream: "events".to_owned(),
        shard: "shardId-0".to_owned(),
    };
    metrics.stream_behind(&shard, None);
    metrics.database_is_away();
    metrics.report_age(None);
    let text = metrics.encode();
    for gone in
        ["neartime_tasks{", "neartime_oldest_due", "behind_latest{", "report_age_seconds{", "clock_skew_seconds{"]
    {
        assert!(!text.contains(gone), "{gone} is still in:\n{text}");
    }
    assert!(text.contains("neartime_task_database_up{} 0.0"));
}

#[test]
fn what_is_known_from_the_start_stands_at_nothing_in_words_that_are_documented() {
    let metrics = Metrics::default();
    let source = SourceName::new("visits").unwrap();
    metrics.begin_source(&source, Span::from_days(1));
    metrics.begin_channel(&source, "stream");
    metrics.begin_feature(&FeatureName::new("user_sites").unwrap());
    metrics.begin_queue("landed");
    metrics.begin_stream(&source, "events");
    let text = metrics.encode();
    for line in [
        "neartime_files_registered_total{source=\"visits\",channel=\"stream\"} 0",
        "neartime_files_quarantined_total{source=\"visits\"} 0",
        "neartime_runs_ended_total{feature=\"user_sites\",outcome=\"parked\"} 0",
        "neartime_queue_messages_total{queue=\"landed\",outcome=\"left\"} 0",
        "neartime_stream_gaps_total{source=\"visits\",stream=\"events\"} 0",
        "neartime_chunk_width_seconds{source=\"visits\"} 86400.0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in:\n{text}");
    }
    for line in text.lines().filter(|line| line.ends_with(" 0")) {
        let (name, labels) = line.split_once('{').unwrap();
        let row = DOCUMENTED.lines().find(|row| row.starts_with(&format!("| `{name}`"))).unwrap();
        let words = ["outcome", "cause"].into_iter().filter_map(|label| labels.split(&format!("{label}=\"")).nth(1));
        for word in words.map(|rest| rest.split('"').next().unwrap()) {
            assert!(row.contains(&format!("`{word}`")), "`{word}` is not in {row}");
        }
    }
}
