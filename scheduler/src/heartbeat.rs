//! Heartbeats that feature code cannot starve: an operating system thread of their own, with its own runtime and its
//! own database connection.
//!
//! A claim that is held here is told to stop when another claim took it over, and also when the database has not
//! answered for so long that its lease may be about to run out: the worker then stops by itself, by the monotonic
//! clock, counted from just before the last successful renewal was sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use neartime_model::{Span, chain};
use neartime_tasks_db::{CronLease, Heart, HeartSource, Lease, ShardLease, TasksError};
use tokio::sync::watch;

/// Beats in the time that one lease lasts; the last of them is the margin at which a worker stops by itself.
const BEATS_A_LEASE: u32 = 4;
/// How often in that time it is looked whether a lease has come to its margin.
const LOOKS_A_LEASE: u32 = 64;

/// Why work on a claim must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Another claim took it over.
    TakenOver,
    /// The database does not answer and the lease may run out.
    Unreachable,
}

impl Lost {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TakenOver => "another claim took it over",
            Self::Unreachable => "the task database does not answer, so its lease may have run out",
        }
    }
}

/// The thread that beats, until the last handle is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeats {
    held: Arc<Mutex<HashMap<Held, Pulse>>>,
    /// Dropped with the last handle, which ends the thread.
    _alive: watch::Sender<()>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Held {
    Task(Lease),
    Shard(ShardLease),
    Cron(String, neartime_model::Fence),
}

#[derive(Debug)]
struct Pulse {
    renewed_at: Instant,
    due_at: neartime_model::Instant,
    lost: watch::Sender<Option<Lost>>,
}

/// A claim that is kept alive until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    key: Held,
    held: Arc<Mutex<HashMap<Held, Pulse>>>,
    lost: watch::Receiver<Option<Lost>>,
}

impl Heartbeats {
    /// Starts the thread; each lease is `lease` long.
    pub(crate) fn start(source: Box<dyn HeartSource>, lease: Span) -> std::io::Result<Self> {
        let held = Arc::new(Mutex::new(HashMap::new()));
        let (alive, ended) = watch::channel(());
        let beating = Beating { held: Arc::clone(&held), source, lease };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || runtime.block_on(beating.until(ended)))?;
        Ok(Self { held, _alive: alive })
    }

    /// Keeps a task's claim alive; `asked_at` is just before the claim was sent.
    pub(crate) fn hold(&self, lease: Lease, asked_at: Instant) -> Hold {
        self.insert(Held::Task(lease), asked_at, neartime_model::Instant::EPOCH)
    }

    /// Keeps a shard's claim alive.
    pub(crate) fn hold_shard(&self, lease: ShardLease, asked_at: Instant) -> Hold {
        self.insert(Held::Shard(lease), asked_at, neartime_model::Instant::EPOCH)
    }

    /// Keeps a cron job's claim alive.
    pub(crate) fn hold_cron(&self, lease: &CronLease, asked_at: Instant) -> Hold {
        self.insert(Held::Cron(lease.name.clone(), lease.fence), asked_at, lease.due_at)
    }

    /// How many tasks are held.
    pub(crate) fn tasks(&self) -> u64 {
        lock(&self.held).keys().filter(|held| matches!(held, Held::Task(_))).count() as u64
    }

    fn insert(&self, key: Held, renewed_at: Instant, due_at: neartime_model::Instant) -> Hold {
        let (lost, told) = watch::channel(None);
        lock(&self.held).insert(key.clone(), Pulse { renewed_at, due_at, lost });
        Hold { key, held: Arc::clone(&self.held), lost: told }
    }
}

impl Hold {
    /// Waits until the claim is lost; for ever if it is not.
    pub(crate) async fn lost(&mut self) -> Lost {
        match self.lost.wait_for(Option::is_some).await.map(|lost| *lost) {
            Ok(Some(lost)) => lost,
            // The thread is gone, and with it whatever kept the lease alive.
            _ => Lost::Unreachable,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.held).remove(&self.key);
    }
}

struct Beating {
    held: Arc<Mutex<HashMap<Held, Pulse>>>,
    source: Box<dyn HeartSource>,
    lease: Span,
}

impl Beating {
    async fn until(self, mut ended: watch::Receiver<()>) {
        tokio::select! {
            _ = ended.changed() => {}
            () = self.keep_beating() => {}
            () = self.keep_looking() => {}
        }
    }

    async fn keep_beating(&self) {
        let beat = self.lease.to_std() / BEATS_A_LEASE;
        let mut heart = None;
        loop {
            tokio::time::sleep(beat).await;
            if tokio::time::timeout(beat, self.beat(&mut heart)).await.is_err() {
                tracing::warn!("the task database does not answer heartbeats");
                heart = None;
            }
        }
    }

    /// Beside the beats: one that hangs must not keep anybody from being told.
    async fn keep_looking(&self) {
        let lease = self.lease.to_std();
        loop {
            tokio::time::sleep(lease / LOOKS_A_LEASE).await;
            self.stop_those_at_risk(lease - lease / BEATS_A_LEASE);
        }
    }

    async fn beat(&self, heart: &mut Option<Box<dyn Heart>>) {
        let due = self.due();
        if due.is_empty() {
            return;
        }
        if heart.is_none() {
            match self.source.open().await {
                Ok(opened) => *heart = Some(opened),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "heartbeats cannot reach the task database");
                    return;
                }
            }
        }
        let open = heart.as_mut().expect("opened above");
        self.beat_tasks(open.as_mut(), due.tasks).await;
        self.beat_shards(open.as_mut(), due.shards).await;
        for cron in due.crons {
            let key = Held::Cron(cron.name.clone(), cron.fence);
            let sent_at = Instant::now();
            match open.beat_cron(&cron, self.lease).await {
                Ok(()) => self.note(&key, Ok(sent_at)),
                Err(error) if error.is_lease_lost() => self.note(&key, Err(Lost::TakenOver)),
                Err(error) => failed(&error),
            }
        }
    }

    async fn beat_tasks(&self, heart: &mut dyn Heart, leases: Vec<Lease>) {
        if leases.is_empty() {
            return;
        }
        let sent_at = Instant::now();
        match heart.beat(&leases, self.lease).await {
            Ok(lost) => self.renew(leases.into_iter().map(|lease| (lost.contains(&lease), Held::Task(lease))), sent_at),
            Err(error) => failed(&error),
        }
    }

    async fn beat_shards(&self, heart: &mut dyn Heart, leases: Vec<ShardLease>) {
        if leases.is_empty() {
            return;
        }
        let sent_at = Instant::now();
        match heart.beat_shards(&leases, self.lease).await {
            Ok(lost) => {
                self.renew(leases.into_iter().map(|lease| (lost.contains(&lease), Held::Shard(lease))), sent_at)
            }
            Err(error) => failed(&error),
        }
    }

    fn due(&self) -> DueBeats {
        let mut due = DueBeats::default();
        for (key, pulse) in lock(&self.held).iter() {
            match key {
                Held::Task(lease) => due.tasks.push(*lease),
                Held::Shard(lease) => due.shards.push(lease.clone()),
                Held::Cron(name, fence) => {
                    due.crons.push(CronLease { name: name.clone(), fence: *fence, due_at: pulse.due_at });
                }
            }
        }
        due
    }

    /// What is lost is told so, the rest lives on.
    fn renew(&self, beaten: impl Iterator<Item = (bool, Held)>, sent_at: Instant) {
        for (is_lost, key) in beaten {
            self.note(&key, if is_lost { Err(Lost::TakenOver) } else { Ok(sent_at) });
        }
    }

    fn note(&self, key: &Held, beat: Result<Instant, Lost>) {
        if let Some(pulse) = lock(&self.held).get_mut(key) {
            match beat {
                Ok(sent_at) => pulse.renewed_at = sent_at,
                Err(lost) => drop(pulse.lost.send_replace(Some(lost))),
            }
        }
    }

    fn stop_those_at_risk(&self, allowed: Duration) {
        for pulse in lock(&self.held).values() {
            if pulse.renewed_at.elapsed() >= allowed {
                pulse.lost.send_if_modified(|lost| lost.is_none() && lost.replace(Lost::Unreachable).is_none());
            }
        }
    }
}

/// The claims to keep alive.
#[derive(Default)]
struct DueBeats {
    tasks: Vec<Lease>,
    shards: Vec<ShardLease>,
    crons: Vec<CronLease>,
}

impl DueBeats {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.shards.is_empty() && self.crons.is_empty()
    }
}

fn failed(error: &TasksError) {
    tracing::warn!(error = chain(error), "a heartbeat failed");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}

#[cfg(test)]
mod tests;
