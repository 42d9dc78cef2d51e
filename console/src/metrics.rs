//! The numbers that Prometheus collects. `docs/metrics.md` lists them; a test keeps it true.
//!
//! Labels are sources, features, shards, and words of this house (states, steps, reasons): never paths, keys or
//! anything else that grows with the data.

mod begin;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use neartime_model::{FeatureName, Instant, SourceName, Span};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

/// Label names and values, always in the same order.
type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge<f64, AtomicU64>>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Everything that is counted and measured. Recording is quick, from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    files_registered: Counters<2>,
    discoveries: Counters<2>,
    discovery_failures: Counters<2>,
    queue_messages: Counters<2>,
    stream_records: Counters<2>,
    stream_gaps: Counters<2>,
    stream_millis_behind: Gauges<3>,
    claims: Counters<1>,
    tasks_ended: Counters<2>,
    runs_ended: Counters<2>,
    retries: Counters<2>,
    lines_read: Counters<1>,
    rows_read: Counters<1>,
    refused: Counters<2>,
    noted: Counters<2>,
    feature_dropped: Counters<2>,
    rows_published: Counters<1>,
    files_quarantined: Counters<1>,
    step_seconds: Histograms<1>,
    chunk_seconds: Histograms<1>,
    chunk_width: Gauges<1>,
    tasks: Gauges<2>,
    oldest_due_age: Gauges<1>,
    feature_runs: Gauges<2>,
    feature_age: Gauges<1>,
    database_up: Gauges<0>,
    clock_skew: Gauges<0>,
    report_age: Gauges<0>,
}

/// A shard of a source's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLabel {
    /// The source.
    pub source: SourceName,
    /// The stream.
    pub stream: String,
    /// The shard.
    pub shard: String,
}

/// From a millisecond to half an hour.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 21))
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("neartime");
        let info = Counters::<1>::default();
        info.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).inc();
        let r = &mut registry;
        add(r, "builds", "The release that runs; always 1", info);
        Self {
            files_registered: add(r, "files_registered", "File versions that were not known before", <_>::default()),
            discoveries: add(r, "discoveries", "Passes, batches of messages or pages of records", <_>::default()),
            discovery_failures: add(r, "discovery_failures", "Times that a channel broke off", <_>::default()),
            queue_messages: add(r, "queue_messages", "Messages of queues, by what became of them", <_>::default()),
            stream_records: add(r, "stream_records", "Records of streams, by what became of them", <_>::default()),
            stream_gaps: add(r, "stream_gaps", "Times that a stream had dropped unread records", <_>::default()),
            stream_millis_behind: add(
                r,
                "stream_millis_behind_latest",
                "How far reading is behind the newest record, of the shards that this process reads",
                <_>::default(),
            ),
            claims: add(r, "claims", "Tasks taken", <_>::default()),
            tasks_ended: add(r, "tasks_ended", "Claims that ended, by what became of the task", <_>::default()),
            runs_ended: add(r, "runs_ended", "Runs that ended, by how", <_>::default()),
            retries: add(r, "retries", "Things that must be done again, by cause", <_>::default()),
            lines_read: add(r, "lines_read", "Lines of raw files", <_>::default()),
            rows_read: add(r, "rows_read", "Rows that features saw", <_>::default()),
            refused: add(r, "refused", "Lines and values that were refused, by reason", <_>::default()),
            noted: add(r, "noted_rows", "Rows that were only noticed, by reason", <_>::default()),
            feature_dropped: add(
                r,
                "feature_dropped",
                "Rows that gave a feature no output and values that became null, by reason",
                <_>::default(),
            ),
            rows_published: add(r, "rows_published", "Rows written to Parquet files", <_>::default()),
            files_quarantined: add(r, "files_quarantined", "Whole files left out of a chunk", <_>::default()),
            step_seconds: add(
                r,
                "step_seconds",
                "Seconds of each part of the work on a chunk",
                Family::new_with_constructor(seconds),
            ),
            chunk_seconds: add(
                r,
                "chunk_seconds",
                "Seconds from a claim to its verdict",
                Family::new_with_constructor(seconds),
            ),
            chunk_width: add(r, "chunk_width_seconds", "How wide the chunks of a source are", <_>::default()),
            tasks: add(r, "tasks", "Tasks by state", <_>::default()),
            oldest_due_age: add(r, "oldest_due_age_seconds", "How long the oldest due task waits", <_>::default()),
            feature_runs: add(r, "feature_runs", "Runs of a feature that are unfinished, by state", <_>::default()),
            feature_age: add(
                r,
                "feature_age_seconds",
                "How long ago the newest chunk of a feature that is done ended",
                <_>::default(),
            ),
            database_up: add(r, "task_database_up", "Whether the task database answers", <_>::default()),
            clock_skew: add(r, "clock_skew_seconds", "The task database's clock minus this machine's", <_>::default()),
            report_age: add(r, "report_age_seconds", "Age of the live Audience Index Report", <_>::default()),
            registry,
        }
    }
}

impl Metrics {
    /// A channel registered what it found.
    pub fn discovered(&self, source: &SourceName, channel: &'static str, registered: u64) {
        let labels = of(source, "channel", channel);
        self.files_registered.get_or_create(&labels).inc_by(registered);
        self.discoveries.get_or_create(&labels).inc();
    }

    /// A channel broke off.
    pub fn discovery_failed(&self, source: &SourceName, channel: &'static str) {
        self.discovery_failures.get_or_create(&of(source, "channel", channel)).inc();
    }

    /// Messages of a queue ended as `outcome`.
    pub fn queue_messages(&self, queue: &str, outcome: &'static str, messages: u64) {
        let labels = [("queue", queue.to_owned()), ("outcome", outcome.to_owned())];
        self.queue_messages.get_or_create(&labels).inc_by(messages);
    }

    /// Records of a stream ended as `outcome`.
    pub fn stream_records(&self, source: &SourceName, outcome: &'static str, records: u64) {
        self.stream_records.get_or_create(&of(source, "outcome", outcome)).inc_by(records);
    }

    /// A stream had dropped records before they were read.
    pub fn stream_gap(&self, shard: &ShardLabel) {
        let labels = [("source", shard.source.to_string()), ("stream", shard.stream.clone())];
        self.stream_gaps.get_or_create(&labels).inc();
    }

    /// How far the reading of a shard is behind; `None` once this process no longer reads it.
    pub fn stream_behind(&self, shard: &ShardLabel, behind: Option<Span>) {
        let labels =
            [("source", shard.source.to_string()), ("stream", shard.stream.clone()), ("shard", shard.shard.clone())];
        match behind {
            Some(behind) => {
                self.stream_millis_behind.get_or_create(&labels).set(behind.as_micros() as f64 / 1_000.0);
            }
            None => {
                self.stream_millis_behind.remove(&labels);
            }
        }
    }

    /// A task was taken.
    pub fn claimed(&self, source: &SourceName, took: Duration) {
        self.claims.get_or_create(&[("source", source.to_string())]).inc();
        self.stepped("claim", took);
    }

    /// A part of the work on a chunk ended well.
    pub fn stepped(&self, step: &'static str, took: Duration) {
        self.step_seconds.get_or_create(&[("step", step.to_owned())]).observe(took.as_secs_f64());
    }

    /// A claim ended; `outcome` is what became of the task.
    pub fn task_ended(&self, source: &SourceName, outcome: &'static str) {
        self.tasks_ended.get_or_create(&of(source, "outcome", outcome)).inc();
    }

    /// A claim came to a verdict after `took`.
    pub fn chunk_took(&self, source: &SourceName, took: Duration) {
        self.chunk_seconds.get_or_create(&[("source", source.to_string())]).observe(took.as_secs_f64());
    }

    /// A run ended.
    pub fn run_ended(&self, feature: &FeatureName, outcome: &'static str, rows: u64) {
        let labels = [("feature", feature.to_string()), ("outcome", outcome.to_owned())];
        self.runs_ended.get_or_create(&labels).inc();
        self.rows_published.get_or_create(&[("feature", feature.to_string())]).inc_by(rows);
    }

    /// Something must be done again.
    pub fn retry(&self, source: &SourceName, cause: &'static str) {
        self.retries.get_or_create(&of(source, "cause", cause)).inc();
    }

    /// A chunk was read.
    pub fn read(&self, source: &SourceName, lines: u64, rows: u64) {
        let labels = [("source", source.to_string())];
        self.lines_read.get_or_create(&labels).inc_by(lines);
        self.rows_read.get_or_create(&labels).inc_by(rows);
    }

    /// Lines or values of a source were refused.
    pub fn refused(&self, source: &SourceName, reason: &str, count: u64) {
        self.refused.get_or_create(&of(source, "reason", reason)).inc_by(count);
    }

    /// Rows of a source were noticed.
    pub fn noted(&self, source: &SourceName, reason: &str, count: u64) {
        self.noted.get_or_create(&of(source, "reason", reason)).inc_by(count);
    }

    /// Rows gave a feature no output, or values became null.
    pub fn feature_dropped(&self, feature: &FeatureName, reason: &str, count: u64) {
        let labels = [("feature", feature.to_string()), ("reason", reason.to_owned())];
        self.feature_dropped.get_or_create(&labels).inc_by(count);
    }

    /// A whole file was left out.
    pub fn file_quarantined(&self, source: &SourceName) {
        self.files_quarantined.get_or_create(&[("source", source.to_string())]).inc();
    }

    /// The task database answered: `skew` is its clock minus ours.
    pub(crate) fn database_is_up(&self, skew: Span) {
        self.database_up.get_or_create(&[]).set(1.0);
        self.clock_skew.get_or_create(&[]).set(as_secs(skew));
    }

    /// The task database does not answer: what it said before is no longer known.
    pub(crate) fn database_is_away(&self) {
        self.database_up.get_or_create(&[]).set(0.0);
        self.forget_tasks();
        self.clock_skew.clear();
    }

    pub(crate) fn forget_tasks(&self) {
        self.tasks.clear();
        self.oldest_due_age.clear();
        self.feature_runs.clear();
        self.feature_age.clear();
    }

    pub(crate) fn tasks(&self, source: &SourceName, state: &'static str, tasks: u64) {
        self.tasks.get_or_create(&of(source, "state", state)).set(tasks as f64);
    }

    pub(crate) fn oldest_due_age(&self, source: &SourceName, age: Span) {
        self.oldest_due_age.get_or_create(&[("source", source.to_string())]).set(as_secs(age));
    }

    pub(crate) fn feature_runs(&self, feature: &FeatureName, waiting: u64, parked: u64) {
        for (state, runs) in [("waiting", waiting), ("parked", parked)] {
            let labels = [("feature", feature.to_string()), ("state", state.to_owned())];
            self.feature_runs.get_or_create(&labels).set(runs as f64);
        }
    }

    pub(crate) fn feature_age(&self, feature: &FeatureName, age: Span) {
        self.feature_age.get_or_create(&[("feature", feature.to_string())]).set(as_secs(age));
    }

    /// `None` where no report is live, or nobody knows.
    pub(crate) fn report_age(&self, age: Option<Span>) {
        match age {
            Some(age) => drop(self.report_age.get_or_create(&[]).set(as_secs(age))),
            None => self.report_age.clear(),
        }
    }

    /// Everything in the text format of OpenMetrics, which Prometheus reads.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

fn of(source: &SourceName, label: &'static str, value: &str) -> Labels<2> {
    [("source", source.to_string()), (label, value.to_owned())]
}

fn as_secs(span: Span) -> f64 {
    span.as_micros() as f64 / 1_000_000.0
}

/// `now - then`, never less than nothing.
pub(crate) fn age(now: Instant, then: Instant) -> Span {
    (now - then).max(Span::ZERO)
}

#[cfg(test)]
mod tests;
