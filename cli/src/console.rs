//! The console of this process: tells its metrics and its health what the scheduler tells.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use neartime_air::Publisher;
use neartime_console::{Bound, Console, Health, LiveReport, Metrics};
use neartime_model::{Clock, Instant};
use neartime_scheduler::{Event, Observer, ReadCounts, Release, RunEnded, ShardLabel};
use neartime_tasks_db::TasksDb;

/// Counts what happens, for whoever looks.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Watch {
    /// Takes the console's address; what it shows of the databases comes from these.
    pub(crate) async fn console(
        &self,
        listen: SocketAddr,
        tasks: Arc<dyn TasksDb>,
        report: Option<Arc<dyn Publisher>>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Bound> {
        let report = report.map(|publisher| Arc::new(Published(publisher)) as Arc<dyn LiveReport>);
        let console = Console::new(Arc::clone(&self.metrics), Arc::clone(&self.health), tasks, report, clock);
        Ok(console.bind(listen).await?)
    }

    /// No new work is taken from now on.
    pub(crate) fn stopping(&self) {
        self.health.stopping();
    }
}

impl Observer for Watch {
    fn observe(&self, event: &Event) {
        let metrics = &self.metrics;
        match event {
            Event::Started => self.health.started(),
            Event::Discovered { source, channel, registered, .. } => {
                metrics.discovered(source, channel.as_str(), *registered);
                self.health.discovered(source, channel.as_str());
            }
            Event::DiscoveryFailed { source, channel, error } => {
                metrics.discovery_failed(source, channel.as_str());
                self.health.discovery_failed(source, channel.as_str(), error);
            }
            Event::Received { queue, outcome } => metrics.queue_messages(queue, outcome.as_str(), 1),
            Event::Streamed { shard, taken, ignored, refused, behind } => {
                for (outcome, records) in [("taken", *taken), ("ignored", *ignored), ("refused", *refused)] {
                    metrics.stream_records(&shard.source, outcome, records);
                }
                if behind.is_some() {
                    metrics.stream_behind(&labelled(shard), *behind);
                }
            }
            Event::StreamGap { shard, .. } => metrics.stream_gap(&labelled(shard)),
            Event::ShardLeft(shard) => metrics.stream_behind(&labelled(shard), None),
            Event::Claimed { task, took } => metrics.claimed(&task.source, *took),
            Event::Stepped { step, took, .. } => metrics.stepped(step.as_str(), *took),
            Event::RunEnded { task, feature, end, dropped } => {
                let (outcome, rows, retry) = match end {
                    RunEnded::Done { rows } => ("done", *rows, None),
                    RunEnded::Superseded => ("superseded", 0, None),
                    RunEnded::Failed { parked: true, .. } => ("parked", 0, None),
                    RunEnded::Failed { parked: false, .. } => ("failed", 0, Some("error")),
                    RunEnded::Delayed => ("delayed", 0, Some(Release::ServiceAway.as_str())),
                };
                metrics.run_ended(feature, outcome, rows);
                dropped.iter().for_each(|count| metrics.feature_dropped(feature, &count.reason, count.count));
                retry.into_iter().for_each(|cause| metrics.retry(&task.source, cause));
            }
            Event::FileQuarantined { task, .. } => metrics.file_quarantined(&task.source),
            Event::Completed { task, state, read, took } => {
                metrics.task_ended(&task.source, state.as_str());
                metrics.chunk_took(&task.source, *took);
                let ReadCounts { lines, rows, refused, noted } = read;
                metrics.read(&task.source, *lines, *rows);
                refused.iter().for_each(|count| metrics.refused(&task.source, &count.reason, count.count));
                noted.iter().for_each(|count| metrics.noted(&task.source, &count.reason, count.count));
            }
            Event::Released { task, cause, .. } => {
                metrics.task_ended(&task.source, cause.as_str());
                if *cause != Release::Stopping {
                    metrics.retry(&task.source, cause.as_str());
                }
            }
        }
    }
}

fn labelled(shard: &ShardLabel) -> neartime_console::ShardLabel {
    let ShardLabel { source, stream, shard } = shard.clone();
    neartime_console::ShardLabel { source, stream, shard }
}

/// The report that a publisher shows.
struct Published(Arc<dyn Publisher>);

#[async_trait]
impl LiveReport for Published {
    async fn as_of(&self) -> Result<Option<Instant>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.live().await?.map(|live| live.as_of))
    }
}
