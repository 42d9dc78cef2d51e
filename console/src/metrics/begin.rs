//! What is known from the start: counters that stand at 0 before anything is counted.
//!
//! Prometheus sees a rise between two values of a series. A series that begins with its first event rose from nothing,
//! and an alert on it would stay silent until the second.

use neartime_model::{FeatureName, SourceName, Span};

use super::{Counters, Labels, Metrics, as_secs, of};

const TASKS_ENDED: [&str; 7] = ["done", "waiting", "parked", "service_away", "stopping", "no_verdict", "lease_lost"];
const RUNS_ENDED: [&str; 5] = ["done", "superseded", "failed", "parked", "delayed"];
const RETRIES: [&str; 4] = ["error", "service_away", "no_verdict", "lease_lost"];
const QUEUE_MESSAGES: [&str; 3] = ["registered", "ignored", "left"];
const STREAM_RECORDS: [&str; 3] = ["taken", "ignored", "refused"];

impl Metrics {
    /// This process works on a source whose chunks are so wide.
    pub fn begin_source(&self, source: &SourceName, width: Span) {
        let labels = [("source", source.to_string())];
        self.chunk_width.get_or_create(&labels).set(as_secs(width));
        for counters in [&self.claims, &self.lines_read, &self.rows_read, &self.files_quarantined] {
            begin(counters, &labels);
        }
        for outcome in TASKS_ENDED {
            begin(&self.tasks_ended, &of(source, "outcome", outcome));
        }
        for cause in RETRIES {
            begin(&self.retries, &of(source, "cause", cause));
        }
    }

    /// This process hears of a source's files by a channel.
    pub fn begin_channel(&self, source: &SourceName, channel: &'static str) {
        for counters in [&self.files_registered, &self.discoveries, &self.discovery_failures] {
            begin(counters, &of(source, "channel", channel));
        }
    }

    /// This process runs a feature.
    pub fn begin_feature(&self, feature: &FeatureName) {
        begin(&self.rows_published, &[("feature", feature.to_string())]);
        for outcome in RUNS_ENDED {
            begin(&self.runs_ended, &[("feature", feature.to_string()), ("outcome", outcome.to_owned())]);
        }
    }

    /// This process receives from a queue.
    pub fn begin_queue(&self, queue: &str) {
        for outcome in QUEUE_MESSAGES {
            self.queue_messages(queue, outcome, 0);
        }
    }

    /// This process may read shards of a source's stream.
    pub fn begin_stream(&self, source: &SourceName, stream: &str) {
        begin(&self.stream_gaps, &[("source", source.to_string()), ("stream", stream.to_owned())]);
        for outcome in STREAM_RECORDS {
            self.stream_records(source, outcome, 0);
        }
    }
}

fn begin<const N: usize>(counters: &Counters<N>, labels: &Labels<N>) {
    counters.get_or_create(labels).inc_by(0);
}
