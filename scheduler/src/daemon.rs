//! The daemon: workers, discovery and cron jobs side by side, from start to a clean stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::TaskContext;
use neartime_ingest::{Scope, Seen};
use neartime_model::{Classify, chain};
use neartime_tasks_db::TasksError;
use tokio::sync::{Notify, watch};

use crate::compute_threads::ComputeThreads;
use crate::cron::Cron;
use crate::discovery::{self, PassError};
use crate::edges::{Edges, Settings, SourceWork};
use crate::heartbeat::Heartbeats;
use crate::worker::{Turn, Worker};
use crate::{Backoff, Channel, Event, compute};

/// How long an idle worker, or one whose task database is away, rests before it looks again.
const POLL: Duration = Duration::from_millis(500);
/// How often tasks are looked for that an older binary completed without one of our features.
const ARMING_INTERVAL: Duration = Duration::from_secs(30);
/// How often everything is listed, old files too.
const FULL_LISTING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long claims may go on after the process was asked to stop, before they are given back.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// The scheduler of one process.
pub struct Scheduler {
    pub(crate) edges: Arc<Edges>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) context: Arc<TaskContext>,
}

impl Scheduler {
    /// Prepares the threads that a scheduler needs; works on nothing yet.
    ///
    /// # Errors
    /// If the operating system gives no thread, or no folder to spill to.
    pub fn new(edges: Edges, settings: Settings) -> std::io::Result<Self> {
        let heartbeats = Heartbeats::start(edges.tasks.hearts(), settings.lease)?;
        let context = compute::context(settings.memory_bytes).map_err(std::io::Error::other)?;
        Ok(Self { edges: Arc::new(edges), settings: Arc::new(settings), heartbeats, context })
    }

    /// Discovers, works and runs jobs until `shutdown` resolves; then finishes or gives back what it holds.
    ///
    /// # Errors
    /// What the task database refuses at the start. Whatever is away later is waited for.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) -> Result<(), TasksError> {
        self.edges.declare().await?;
        self.cron().declare().await?;
        self.edges.offline.sweep().await.unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "old temporary files could not be removed");
            0
        });
        self.edges.observer.observe(&Event::Started);
        let (stop, stopping) = watch::channel(Stop::Work);
        let wake = Arc::new(Notify::new());
        let life = async {
            let workers = (0..self.settings.workers).map(|_| self.work_until(stopping.clone(), &wake));
            let listing = self.edges.listed().map(|source| self.list_until(source, stopping.clone(), &wake));
            let queues = self.edges.queues.iter().map(|queue| self.receive_until(queue, stopping.clone(), &wake));
            let streams = self.edges.streams.iter().filter_map(|stream| self.streaming(stream));
            let streams = streams.map(|stream| stream.read_until(stopping.clone(), Arc::clone(&wake)));
            let sweeps = self.edges.streams.iter().map(|stream| self.sweep_until(stream, stopping.clone()));
            tokio::join!(
                futures::future::join_all(workers),
                futures::future::join_all(listing),
                futures::future::join_all(queues),
                futures::future::join_all(streams),
                futures::future::join_all(sweeps),
                self.arm_until(stopping.clone()),
                self.keep_schedules_until(stopping.clone()),
            );
        };
        tokio::pin!(life);
        tokio::select! {
            () = &mut life => return Ok(()),
            () = shutdown => tracing::info!("stopping: no new work is taken"),
        }
        stop.send_replace(Stop::TakeNothing);
        wake.notify_waiters();
        if tokio::time::timeout(GRACE, &mut life).await.is_err() {
            stop.send_replace(Stop::GiveBack);
            life.await;
        }
        tracing::info!("stopped");
        Ok(())
    }

    pub(crate) fn worker(&self, backoff: Backoff, stopping: watch::Receiver<Stop>) -> Worker {
        Worker {
            edges: Arc::clone(&self.edges),
            settings: Arc::clone(&self.settings),
            heartbeats: self.heartbeats.clone(),
            threads: ComputeThreads::new(self.settings.read_threads.max(2)),
            context: Arc::clone(&self.context),
            backoff,
            stopping,
        }
    }

    fn cron(&self) -> Cron<'_> {
        Cron { edges: &self.edges, settings: &self.settings, heartbeats: &self.heartbeats }
    }

    async fn work_until(&self, stopping: watch::Receiver<Stop>, wake: &Notify) {
        let worker = self.worker(Backoff::Exponential, stopping.clone());
        while !is_stopping(&stopping) {
            match worker.turn().await {
                Ok(Turn::Worked) => {}
                Ok(Turn::Idle | Turn::ServiceAway(_)) => rest(POLL, &stopping, wake).await,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the task database is away");
                    rest(POLL, &stopping, wake).await;
                }
            }
        }
    }

    /// Lists one source again and again: what is new often, everything once a day.
    async fn list_until(&self, source: &SourceWork, stopping: watch::Receiver<Stop>, wake: &Notify) {
        let never = Notify::new();
        let mut seen = Seen::default();
        let mut listed_all_at: Option<std::time::Instant> = None;
        while !is_stopping(&stopping) {
            let all = listed_all_at.is_none_or(|at| at.elapsed() >= FULL_LISTING_INTERVAL);
            let started_at = std::time::Instant::now();
            // A pass notes what it registers; it begins where the passes before it came to.
            let before = seen.clone();
            let recent = Scope::Recent { seen: &before, now: self.edges.clock.now() };
            let scope = if all { Scope::Everything } else { recent };
            let mut stopped = stopping.clone();
            let passed = tokio::select! {
                passed = discovery::pass(&self.edges, source, scope, &mut seen) => passed,
                // A pass over a large bucket takes minutes; what it has not registered the next one finds.
                _ = stopped.wait_for(|stop| *stop != Stop::Work) => return,
            };
            match passed {
                Ok(discovered) => {
                    if all {
                        listed_all_at = Some(started_at);
                    }
                    if discovered.registered.files > 0 {
                        wake.notify_waiters();
                    }
                }
                Err(error) => self.listing_failed(source, &error),
            }
            rest(self.settings.listing_interval, &stopping, &never).await;
        }
    }

    fn listing_failed(&self, source: &SourceWork, error: &PassError) {
        let (source, kind, error) = (&source.source.name, error.kind(), chain(error));
        tracing::warn!(%source, ?kind, error, "a listing broke off; it is tried again");
        let (source, channel) = (source.clone(), Channel::Listing);
        self.edges.observer.observe(&Event::DiscoveryFailed { source, channel, error });
    }

    async fn arm_until(&self, stopping: watch::Receiver<Stop>) {
        let never = Notify::new();
        while !is_stopping(&stopping) {
            if let Err(error) = self.arm_missing_runs().await {
                tracing::warn!(error = chain(&error), "runs of new features could not be armed");
            }
            rest(ARMING_INTERVAL, &stopping, &never).await;
        }
    }

    async fn keep_schedules_until(&self, stopping: watch::Receiver<Stop>) {
        let never = Notify::new();
        if self.edges.jobs.is_empty() {
            return;
        }
        let cron = self.cron();
        while !is_stopping(&stopping) {
            let mut stopped = stopping.clone();
            tokio::select! {
                ran = cron.run_due() => {
                    if let Err(error) = ran {
                        tracing::warn!(error = chain(&error), "due jobs could not be claimed");
                    }
                }
                // A job that is cut off here is due again when its lease runs out.
                _ = stopped.wait_for(|stop| *stop == Stop::GiveBack) => {}
            }
            rest(POLL, &stopping, &never).await;
        }
    }

    pub(crate) async fn arm_missing_runs(&self) -> Result<u64, TasksError> {
        let mut armed = 0;
        for source in self.edges.worker_sources() {
            armed += self.edges.tasks.arm_missing_runs(&source).await?;
        }
        Ok(armed)
    }
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody asked for one.
    Work,
    /// Claims that are held may end; no new ones are made.
    TakeNothing,
    /// Claims that are held are given back.
    GiveBack,
}

pub(crate) fn is_stopping(stopping: &watch::Receiver<Stop>) -> bool {
    *stopping.borrow() != Stop::Work
}

/// Rests for `time`, or until there is something to do.
pub(crate) async fn rest(time: Duration, stopping: &watch::Receiver<Stop>, wake: &Notify) {
    let mut stopping = stopping.clone();
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = wake.notified() => {}
        _ = stopping.wait_for(|stop| *stop != Stop::Work) => {}
    }
}
