//! `run --once`: everything that is due now, and then an end.

use std::sync::Once;
use std::time::{Duration, Instant};

use neartime_ingest::{Scope, Seen};
use neartime_model::{Classify, ErrorKind, chain};
use neartime_tasks_db::TasksError;
use tokio::sync::watch;

use crate::Backoff;
use crate::daemon::{GRACE, Scheduler, Stop, is_stopping};
use crate::discovery::{self, PassError};
use crate::worker::{SERVICE_DELAY, Turn};

/// How long to wait before a service is tried again, or another process's claims are looked at again.
const PAUSE: Duration = Duration::from_millis(200);

/// How long others may hold claims before it is told that they are waited for.
const QUIET_WAIT: Duration = Duration::from_secs(2);

/// What `run --once` leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files found and fitting their layouts.
    pub matched: u64,
    /// Files found that fit no layout, and are left alone.
    pub unmatched: u64,
    /// Tasks that are parked now.
    pub parked_tasks: u64,
    /// Runs that are parked now, of the features that run here.
    pub parked_runs: u64,
    /// Runs that are parked of features that do not run here (any more): nothing will take them up.
    pub forgotten_runs: u64,
    /// Whether it was asked to stop before all was done.
    pub stopped: bool,
}

/// Why `run --once` ended before its work did.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// The task database refused or failed.
    #[error(transparent)]
    Tasks(#[from] TasksError),
    /// A service stayed away for longer than the patience of the settings.
    #[error(
        "a service stayed away for {} s, so the work is not finished; run it again once it is back: {note}",
        .waited.as_secs()
    )]
    ServiceAway {
        /// How long it was waited for.
        waited: Duration,
        /// What was away.
        note: String,
    },
    /// Files cannot be discovered, for a reason that waiting does not mend.
    #[error("discovering files failed: {note}")]
    Discovery {
        /// What went wrong.
        note: String,
        /// What the caller should do.
        kind: ErrorKind,
    },
}

impl Classify for OnceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Tasks(error) => error.kind(),
            Self::ServiceAway { .. } => ErrorKind::Unavailable,
            Self::Discovery { kind, .. } => *kind,
        }
    }
}

/// Since when something is away, and what.
#[derive(Debug, Default)]
struct Away(Option<(Instant, String)>);

impl Away {
    fn note(&mut self, note: String, patience: Duration) -> Result<(), OnceError> {
        let (since, note) = self.0.get_or_insert_with(|| {
            tracing::warn!(error = note, "a service is away: it is tried again for {} s", patience.as_secs());
            (Instant::now(), note)
        });
        let waited = since.elapsed();
        if waited < patience { Ok(()) } else { Err(OnceError::ServiceAway { waited, note: note.clone() }) }
    }
}

/// What is left to wait for.
struct Remainder {
    is_drained: bool,
    claims_of_others: u64,
}

impl Scheduler {
    /// Discovers everything, works until nothing is due, and tells what stands parked. Failing runs are tried again at
    /// once; a service that is away is waited for up to [`Settings::patience`](crate::Settings::patience).
    ///
    /// # Errors
    /// What the task database refuses, or a service that stays away.
    pub async fn run_once(&self) -> Result<Summary, OnceError> {
        self.run_once_until(std::future::pending()).await
    }

    /// The same, but ends early once `shutdown` resolves: what is claimed is finished or given back, so that whoever
    /// comes next need not wait for a lease to run out.
    ///
    /// # Errors
    /// As those of [`Self::run_once`].
    pub async fn run_once_until(&self, shutdown: impl Future<Output = ()> + Send) -> Result<Summary, OnceError> {
        let stop = watch::Sender::new(Stop::Work);
        let life = self.once(&stop);
        tokio::pin!(life);
        tokio::select! {
            done = &mut life => return done,
            () = shutdown => tracing::info!("stopping: no new work is taken"),
        }
        stop.send_replace(Stop::TakeNothing);
        if let Ok(done) = tokio::time::timeout(GRACE, &mut life).await {
            return done;
        }
        stop.send_replace(Stop::GiveBack);
        life.await
    }

    async fn once(&self, stop: &watch::Sender<Stop>) -> Result<Summary, OnceError> {
        let mut stopped = stop.subscribe();
        let (mut summary, mut unread) = tokio::select! {
            found = self.find_files() => found?,
            // What was found and not registered yet the next run finds again.
            _ = stopped.wait_for(|stop| *stop != Stop::Work) => {
                return Ok(Summary { stopped: true, ..Summary::default() });
            }
        };
        for stream in self.edges.streams.iter().filter_map(|stream| self.streaming(stream)) {
            let read = self.with_patience(|| stream.clone().read_all(stop.subscribe())).await;
            self.or_go_on(read, &mut unread).await?;
        }
        self.arm_missing_runs().await?;
        self.drain(stop).await?;
        let pulse = self.edges.tasks.pulse().await?;
        summary.parked_tasks = pulse.sources.iter().map(|source| source.parked).sum();
        for feature in pulse.features {
            match self.edges.runs(&feature.name) {
                true => summary.parked_runs += feature.parked,
                false => summary.forgotten_runs += feature.parked,
            }
        }
        summary.stopped = is_stopping(&stopped);
        unread.map_or(Ok(summary), Err)
    }

    /// What was found, if the service was there. One that stays away keeps nobody from working on what is known: `away`
    /// is told at the end.
    async fn or_go_on<T>(
        &self,
        found: Result<T, OnceError>,
        away: &mut Option<OnceError>,
    ) -> Result<Option<T>, OnceError> {
        match found {
            // Without the task database nothing works.
            Err(error @ OnceError::ServiceAway { .. }) if self.edges.tasks.now().await.is_ok() => {
                *away = Some(error);
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// Lists all locations, and empties all queues. Also tells what could not be reached.
    async fn find_files(&self) -> Result<(Summary, Option<OnceError>), OnceError> {
        self.edges.declare().await?;
        if let Err(error) = self.edges.offline.sweep().await {
            tracing::warn!(error = chain(&error), "old temporary files could not be removed");
        }
        let (summary, mut away) = self.discover_everything().await?;
        for queue in &self.edges.queues {
            let received = self.with_patience(|| self.receive_all(queue)).await;
            self.or_go_on(received, &mut away).await?;
        }
        Ok((summary, away))
    }

    async fn discover_everything(&self) -> Result<(Summary, Option<OnceError>), OnceError> {
        let (mut summary, mut away) = (Summary::default(), None);
        for source in self.edges.listed() {
            let pass = || async {
                match discovery::pass(&self.edges, source, Scope::Everything, &mut Seen::default()).await {
                    Err(PassError::Listing(error)) if error.is_refusal() => Ok(Err(error)),
                    passed => passed.map(Ok),
                }
            };
            let passed = self.with_patience(pass).await;
            match self.or_go_on(passed, &mut away).await? {
                Some(Ok(discovered)) => {
                    summary.matched += discovered.matched;
                    summary.unmatched += discovered.unmatched;
                }
                Some(Err(refusal)) => {
                    let (note, kind) = (chain(&refusal), refusal.kind());
                    tracing::warn!(error = note, "what can be listed is worked on");
                    away = Some(OnceError::Discovery { note, kind });
                }
                None => {}
            }
        }
        Ok((summary, away))
    }

    /// Tries again while a service is away.
    async fn with_patience<T, E, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, OnceError>
    where
        E: Classify + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let mut away = Away::default();
        loop {
            match attempt().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    away.note(chain(&error), self.settings.patience)?;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(OnceError::Discovery { note: chain(&error), kind: error.kind() }),
                Ok(done) => return Ok(done),
            }
        }
    }

    /// Works until nothing is due and nobody holds a claim: a claim of a process that was killed is taken over when
    /// its lease ends. Asked to stop, it ends with the claims that it holds. If one worker gives up, the others give
    /// back what they hold.
    async fn drain(&self, stop: &watch::Sender<Stop>) -> Result<(), OnceError> {
        let told = Once::new();
        let one = async || {
            let drained = self.drain_with_one(stop.subscribe(), &told).await;
            if drained.is_err() {
                stop.send_replace(Stop::GiveBack);
            }
            drained
        };
        let drained = futures::future::join_all((0..self.settings.workers).map(|_| one())).await;
        drained.into_iter().collect()
    }

    async fn drain_with_one(&self, stopping: watch::Receiver<Stop>, told: &Once) -> Result<(), OnceError> {
        let worker = self.worker(Backoff::None, stopping.clone());
        let mut away = Away::default();
        let mut worked_at = Instant::now();
        while !is_stopping(&stopping) {
            match worker.turn().await {
                Ok(Turn::Worked) => (away, worked_at) = (Away::default(), Instant::now()),
                Ok(Turn::ServiceAway(note)) => {
                    away.note(note, self.settings.patience)?;
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(Turn::Idle) => {
                    let left = self.remainder().await?;
                    if left.is_drained {
                        return Ok(());
                    }
                    if left.claims_of_others > 0 && worked_at.elapsed() > QUIET_WAIT {
                        let claims = left.claims_of_others;
                        told.call_once(|| tracing::warn!(claims, "waiting until other processes end, or their leases"));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    away.note(chain(&error), self.settings.patience)?;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What is left where a worker finds nothing due. All is done if nobody holds a claim, and nothing is due soon: a
    /// service that is away may have put that off, in this process or in the one before.
    async fn remainder(&self) -> Result<Remainder, TasksError> {
        let ours = self.edges.read_sources();
        let pulse = self.edges.tasks.pulse().await?;
        let claims: u64 = pulse.sources.iter().filter(|of| ours.contains(&of.source)).map(|of| of.running).sum();
        if claims > 0 {
            let claims_of_others = claims.saturating_sub(self.heartbeats.tasks());
            return Ok(Remainder { is_drained: false, claims_of_others });
        }
        let next = self.edges.tasks.next_due_at(&ours).await?;
        Ok(Remainder { is_drained: next.is_none_or(|next| next > pulse.at + SERVICE_DELAY), claims_of_others: 0 })
    }
}

#[cfg(test)]
mod tests;
