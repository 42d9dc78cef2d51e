//! The console of this process: tells its metrics and its health what the scheduler tells.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use neartime_air::Publisher;
use neartime_console::{Bound, Console, Health, LiveReport, Metrics};
use neartime_model::{Clock, Instant};
use neartime_scheduler::{Channel, Edges, Event, Observer, ReadCounts, Release, RunEnded, ShardLabel};
use neartime_tasks_db::TasksDb;

/// Counts what happens, for whoever looks.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Watch {
    /// Lets the counters of all that this process works with begin at 0.
    pub(crate) fn begin(&self, edges: &Edges) {
        let metrics = &self.metrics;
        for work in &edges.sources {
            metrics.begin_source(&work.source.name, work.source.width.span());
            if edges.is_listed(work) {
                metrics.begin_channel(&work.source.name, Channel::Listing.as_str());
            }
            work.features.iter().for_each(|feature| metrics.begin_feature(&feature.table().name));
        }
        for work in &edges.queues {
            metrics.begin_queue(work.queue.name());
            work.sources.iter().for_each(|source| metrics.begin_channel(source, Channel::Queue.as_str()));
        }
        for work in &edges.streams {
            metrics.begin_stream(&work.source, work.stream.name());
            metrics.begin_channel(&work.source, Channel::Stream.as_str());
        }
    }

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use neartime_model::{ChunkWidth, FeatureName, FileKey, FilePath, Span};
    use neartime_scheduler::{QueueOutcome, TaskLabel};
    use neartime_tasks_db::TaskState;

    use super::*;

    fn counters(watch: &Watch) -> BTreeSet<String> {
        let text = watch.metrics.encode();
        let series = text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series);
        series.filter(|series| series.contains("_total{")).map(str::to_owned).collect()
    }

    /// All that can happen but what has a reason.
    fn everything(task: &TaskLabel, feature: &FeatureName) -> Vec<Event> {
        let (source, error) = (task.source.clone(), String::new);
        let shard = ShardLabel { source: source.clone(), stream: "events".to_owned(), shard: "shardId-0".to_owned() };
        let mut events = vec![
            Event::Streamed { shard: shard.clone(), taken: 1, ignored: 1, refused: 1, behind: None },
            Event::StreamGap { shard, gap: String::new() },
            Event::Claimed { task: task.clone(), took: Duration::ZERO },
            Event::FileQuarantined { task: task.clone(), key: FileKey::new("a"), reason: String::new() },
        ];
        for channel in Channel::ALL {
            events.push(Event::Discovered { source: source.clone(), channel, matched: 1, registered: 1 });
            events.push(Event::DiscoveryFailed { source: source.clone(), channel, error: error() });
        }
        for outcome in [QueueOutcome::Registered, QueueOutcome::Ignored, QueueOutcome::Left] {
            events.push(Event::Received { queue: "landed".to_owned(), outcome });
        }
        let failed = |parked| RunEnded::Failed { error: error(), parked };
        for end in [RunEnded::Done { rows: 1 }, RunEnded::Superseded, failed(true), failed(false), RunEnded::Delayed] {
            events.push(Event::RunEnded { task: task.clone(), feature: feature.clone(), end, dropped: Vec::new() });
        }
        for state in [TaskState::Done, TaskState::Waiting, TaskState::Parked] {
            let read = ReadCounts { lines: 1, rows: 1, ..ReadCounts::default() };
            events.push(Event::Completed { task: task.clone(), state, read, took: Duration::ZERO });
        }
        for cause in [Release::ServiceAway, Release::Stopping, Release::NoVerdict, Release::LeaseLost] {
            events.push(Event::Released { task: task.clone(), cause, reason: String::new() });
        }
        events
    }

    #[test]
    fn no_counter_begins_with_its_first_event() {
        let chunk = ChunkWidth::TEN_MINUTES.chunk_of(Instant::from_secs(0));
        let task = TaskLabel { source: "visits".parse().unwrap(), path: FilePath::new("a/"), chunk };
        let feature: FeatureName = "user_sites".parse().unwrap();
        let watch = Watch::default();
        watch.metrics.begin_source(&task.source, Span::from_mins(10));
        Channel::ALL.iter().for_each(|channel| watch.metrics.begin_channel(&task.source, channel.as_str()));
        watch.metrics.begin_feature(&feature);
        watch.metrics.begin_queue("landed");
        watch.metrics.begin_stream(&task.source, "events");
        let begun = counters(&watch);
        everything(&task, &feature).iter().for_each(|event| watch.observe(event));
        assert_eq!(counters(&watch), begun);
    }
}
