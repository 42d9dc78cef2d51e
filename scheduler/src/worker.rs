//! A worker: takes what is due and sees it through, one claim at a time.

use std::sync::Arc;
use std::time::Instant;

use datafusion::execution::TaskContext;
use neartime_model::{Span, chain};
use neartime_tasks_db::{Claim, ClaimRequest, Ended, ReadSummary, ReasonCount, RunEnd, TaskState, TasksError};
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::compute_threads::ComputeThreads;
use crate::daemon::Stop;
use crate::edges::{Edges, Settings};
use crate::heartbeat::{Heartbeats, Hold, Lost};
use crate::home::Home;
use crate::step::step;
use crate::task::{Halt, NOTED, Verdict, Work, label};
use crate::{Backoff, Event, ReadCounts, Release, Step, TaskLabel};

/// How long a task rests whose service was away.
pub(crate) const SERVICE_DELAY: Span = Span::from_secs(5);

/// One of the workers of a process.
pub(crate) struct Worker {
    pub(crate) edges: Arc<Edges>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) threads: ComputeThreads,
    pub(crate) context: Arc<TaskContext>,
    pub(crate) backoff: Backoff,
    /// Says when work is to be given back.
    pub(crate) stopping: watch::Receiver<Stop>,
}

/// What one turn of a worker came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing is due.
    Idle,
    /// A task ended, or was given back for a reason of its own.
    Worked,
    /// A task was given back, or a run of it put off, because a service is away.
    ServiceAway(String),
}

/// Why a claim's work ended.
enum Outcome {
    Verdict(Verdict),
    Halted(Halt),
    /// Why nothing could be begun.
    NotBegun(String),
    Panicked(String),
    Lost(Lost),
    Deadline,
    Stopping,
}

impl Worker {
    /// claim → read → compute → publish offline → publish online → complete.
    pub(crate) async fn turn(&self) -> Result<Turn, TasksError> {
        let asked_at = Instant::now();
        let Some(claim) = self.edges.tasks.claim(&self.request()).await? else { return Ok(Turn::Idle) };
        self.edges.observer.observe(&Event::Claimed { task: label(&claim), took: asked_at.elapsed() });
        let hold = self.heartbeats.hold(claim.lease, asked_at);
        let (source, path, chunk) = (&claim.source, &claim.file_path, claim.chunk.start());
        let span = tracing::info_span!("task", %source, %path, %chunk, fence = claim.lease.fence.0);
        self.see_through(&claim, hold, asked_at).instrument(span).await
    }

    async fn see_through(&self, claim: &Claim, hold: Hold, asked_at: Instant) -> Result<Turn, TasksError> {
        let outcome = self.work_on(claim, hold).await;
        match self.settle(claim, outcome, asked_at).await {
            Err(error) if error.is_lease_lost() => {
                self.lost(label(claim), "the lease was lost: what was computed is dropped");
                Ok(Turn::Worked)
            }
            settled => settled,
        }
    }

    /// Computes until there is a verdict, the claim is lost, time is up, or the process is asked to stop.
    async fn work_on(&self, claim: &Claim, mut hold: Hold) -> Outcome {
        let Some(work) = self.work(claim) else {
            // `claim` gives only tasks of the sources that were asked for.
            return Outcome::NotBegun(format!("there is no source `{}`", claim.source));
        };
        let claim = claim.clone();
        let mut stopping = self.stopping.clone();
        let mut processing = match self.threads.spawn(async move { work.process(claim).await }.in_current_span()) {
            Ok(processing) => processing,
            Err(error) => return Outcome::NotBegun(format!("could not start threads: {error}")),
        };
        let outcome = tokio::select! {
            processed = &mut processing => match processed {
                Ok(Ok(verdict)) => Outcome::Verdict(verdict),
                Ok(Err(halt)) => Outcome::Halted(halt),
                Err(error) => Outcome::Panicked(crate::compute::panic_text(error)),
            },
            lost = hold.lost() => Outcome::Lost(lost),
            () = tokio::time::sleep(self.settings.deadline) => Outcome::Deadline,
            _ = stopping.wait_for(|stop| *stop == Stop::GiveBack) => Outcome::Stopping,
        };
        processing.abort();
        if matches!(outcome, Outcome::Deadline) {
            self.threads.abandon();
        }
        outcome
    }

    async fn settle(&self, claim: &Claim, outcome: Outcome, asked_at: Instant) -> Result<Turn, TasksError> {
        let (tasks, lease, task) = (&self.edges.tasks, &claim.lease, label(claim));
        match outcome {
            Outcome::Verdict(Verdict::Complete { outcomes, read }) => {
                let completing = tasks.complete(lease, &outcomes, read.as_ref());
                let ended = step(self.edges.observer.as_ref(), &task, Step::Complete, completing).await?;
                self.ended(task, ended, read.map_or_else(ReadCounts::default, read_counts), asked_at);
                Ok(outcomes.into_iter().find_map(service_away).map_or(Turn::Worked, Turn::ServiceAway))
            }
            Outcome::Verdict(Verdict::Park(parking)) => {
                tracing::error!(%task, error = %parking.error, "a task is parked");
                let ended = tasks.park(lease, &parking).await?;
                self.ended(task, ended, ReadCounts::default(), asked_at);
                Ok(Turn::Worked)
            }
            Outcome::Verdict(Verdict::Release { note }) => {
                tasks.release(lease, self.service_delay(), &note).await?;
                self.released(task, Release::ServiceAway, &note);
                Ok(Turn::ServiceAway(note))
            }
            Outcome::Halted(Halt::Tasks(error)) => Err(error),
            Outcome::Halted(Halt::Read(error)) => self.abandon(claim, &chain(&error)).await,
            Outcome::NotBegun(note) => self.abandon(claim, &note).await,
            Outcome::Panicked(text) => self.abandon(claim, &format!("the work on the claim panicked: {text}")).await,
            Outcome::Deadline => {
                let limit = self.settings.deadline;
                self.abandon(claim, &format!("the work on the claim did not end within {limit:?}")).await
            }
            Outcome::Lost(lost) => {
                self.lost(task, lost.as_str());
                Ok(Turn::Worked)
            }
            Outcome::Stopping => {
                tasks.release(lease, Span::ZERO, "the worker was asked to stop").await?;
                self.released(task, Release::Stopping, "the worker was asked to stop");
                Ok(Turn::Worked)
            }
        }
    }

    /// Ends a claim that came to no verdict; enough of them and the task, or the guilty run, is parked.
    async fn abandon(&self, claim: &Claim, note: &str) -> Result<Turn, TasksError> {
        let task = label(claim);
        tracing::error!(%task, note, "a claim ended without a verdict");
        self.edges.tasks.abandon(&claim.lease, note).await?;
        self.released(task, Release::NoVerdict, note);
        Ok(Turn::Worked)
    }

    fn request(&self) -> ClaimRequest {
        ClaimRequest {
            worker: self.settings.worker.clone(),
            sources: self.edges.worker_sources(),
            lease: self.settings.lease,
        }
    }

    fn work(&self, claim: &Claim) -> Option<Work> {
        Some(Work {
            edges: Arc::clone(&self.edges),
            home: Home::here(&self.edges.tasks),
            source: self.edges.source(&claim.source)?.clone(),
            context: Arc::clone(&self.context),
            backoff: self.backoff,
            service_delay: self.service_delay(),
            read_threads: self.settings.read_threads,
        })
    }

    fn service_delay(&self) -> Span {
        match self.backoff {
            Backoff::Exponential => SERVICE_DELAY,
            Backoff::None => Span::from_secs(1),
        }
    }

    fn ended(&self, task: TaskLabel, ended: Ended, read: ReadCounts, asked_at: Instant) {
        let (took, state) = (asked_at.elapsed(), ended.state);
        let refused: u64 = read.refused.iter().map(|count| count.count).sum();
        tracing::info!(%task, %state, lines = read.lines, refused, took_ms = took.as_millis(), "a claim ended");
        if state == TaskState::Waiting && ended.input_moved {
            tracing::info!(%task, "its input changed meanwhile: it is due again");
        }
        self.edges.observer.observe(&Event::Completed { task, state, read, took });
    }

    fn lost(&self, task: TaskLabel, reason: &str) {
        tracing::warn!(%task, reason, "work on a task stops");
        self.released(task, Release::LeaseLost, reason);
    }

    fn released(&self, task: TaskLabel, cause: Release, reason: &str) {
        if cause == Release::ServiceAway {
            tracing::warn!(%task, reason, "a task is given back: a service is away");
        }
        self.edges.observer.observe(&Event::Released { task, cause, reason: reason.to_owned() });
    }
}

/// What was refused, apart from what was only noticed.
fn read_counts(read: ReadSummary) -> ReadCounts {
    let is_noted = |count: &ReasonCount| NOTED.contains(&count.reason.as_str());
    let (noted, refused) = read.counts.into_iter().partition(is_noted);
    ReadCounts { lines: read.lines, rows: read.rows, refused, noted }
}

fn service_away(outcome: neartime_tasks_db::RunOutcome) -> Option<String> {
    match outcome.end {
        RunEnd::Delayed { note, .. } => Some(note),
        _ => None,
    }
}
