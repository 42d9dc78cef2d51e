//! Streams: which shards this process reads, from claim to release.
//!
//! A shard is read by one worker at a time, under a leased, fenced row of the task database, parents before children.
//! How far it was read, and what came out of it, is written in one transaction: what was read but not written is read
//! again by whoever comes next. The task database says who reads what; the stream says which shards there are.

mod events;
mod intake;
mod keys;
mod shard;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use neartime_ingest::FormatError;
use neartime_ingest::channel::ChannelError;
use neartime_ingest::reservoir::ReservoirError;
use neartime_model::{Classify, ErrorKind, chain};
use neartime_tasks_db::{InitialPosition, ShardClaim, ShardDeclaration, ShardId, ShardRequest, StreamId, TasksError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::daemon::{Scheduler, Stop, is_stopping, rest};
use crate::edges::{Edges, Settings, SourceWork, StreamWork};
use crate::heartbeat::Heartbeats;
use crate::{Backoff, Channel, Event, ShardLabel};
use shard::{Goal, Reading, ShardEnd, Until};

/// How often the stream is asked for its shards.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// How often the task database is asked for a shard to read.
const CLAIM_INTERVAL: Duration = Duration::from_secs(2);

/// How long the shards may take to be given back, once nothing else is waited for.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// Why the reading of a stream, or of one shard, broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Tasks(#[from] TasksError),
    #[error(transparent)]
    Reservoir(#[from] ReservoirError),
    #[error("could not name a raw file")]
    Name(#[from] FormatError),
    #[error("the reading of a shard broke off: {0}")]
    Panicked(String),
}

impl Classify for StreamError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Channel(error) => error.kind(),
            Self::Tasks(error) => error.kind(),
            Self::Reservoir(error) => error.kind(),
            Self::Name(_) | Self::Panicked(_) => ErrorKind::Failed,
        }
    }
}

/// One stream, as this process reads it.
#[derive(Clone)]
pub(crate) struct Streaming {
    edges: Arc<Edges>,
    settings: Arc<Settings>,
    heartbeats: Heartbeats,
    work: StreamWork,
    source: SourceWork,
    id: StreamId,
}

/// What was seen of shards that other processes hold.
#[derive(Default)]
struct Others {
    /// When the leases were to end at first.
    leases: HashMap<ShardId, neartime_model::Instant>,
    /// Those whose leases have ended.
    ended: HashSet<ShardId>,
    looks: u32,
}

type Readers = JoinSet<Result<ShardEnd, StreamError>>;

impl Scheduler {
    /// A stream of a source that is there.
    pub(crate) fn streaming(&self, work: &StreamWork) -> Option<Streaming> {
        Some(Streaming {
            edges: Arc::clone(&self.edges),
            settings: Arc::clone(&self.settings),
            heartbeats: self.heartbeats.clone(),
            source: self.edges.source(&work.source)?.clone(),
            id: StreamId { source: work.source.clone(), stream: work.stream.name().to_owned() },
            work: work.clone(),
        })
    }
}

impl Streaming {
    /// Claims shards and reads them until the process stops; then gives them back.
    pub(crate) async fn read_until(self, mut stopping: watch::Receiver<Stop>, wake: Arc<Notify>) {
        let until = Until { stopping: stopping.clone(), goal: Goal::OnAndOn(wake) };
        let mut readers = JoinSet::new();
        let mut looked_at: Option<Instant> = None;
        let mut failures = 0;
        while !is_stopping(&stopping) {
            let look = looked_at.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL);
            let turned = self.turn(look, &mut readers, &until).await;
            if look && turned.is_ok() {
                looked_at = Some(Instant::now());
            }
            let failed = turned.and_then(|()| ended(&mut readers, &mut looked_at));
            match failed {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    self.failed(&error);
                    let pause = Backoff::Exponential.after(failures, &mut fastrand::Rng::new());
                    rest(pause.to_std(), &stopping, &Notify::new()).await;
                }
            }
            rest(CLAIM_INTERVAL, &stopping, &Notify::new()).await;
        }
        let too_late = async {
            let _ = stopping.wait_for(|stop| *stop == Stop::GiveBack).await;
            tokio::time::sleep(GIVING_BACK).await;
        };
        let left = tokio::select! {
            () = async { while readers.join_next().await.is_some() {} } => true,
            () = too_late => false,
        };
        if !left {
            readers.shutdown().await;
        }
    }

    /// Reads every shard that no other process reads to its end, or to its newest record, unless this one stops before;
    /// then gives them back. Shards that a process holds which is gone are waited for.
    pub(crate) async fn read_all(self, stopping: watch::Receiver<Stop>) -> Result<(), StreamError> {
        let until = Until { stopping, goal: Goal::Tip(self.edges.clock.now()) };
        let mut readers = JoinSet::new();
        let (mut held, mut failed, mut others) = (Vec::new(), None, Others::default());
        loop {
            // Looked at again after each shard: one that ended may have children. After a failure nothing more is begun,
            // but what is being read is read on and given back: it would lie there under our lease.
            if failed.is_none() && !is_stopping(&until.stopping) {
                failed = self.turn(true, &mut readers, &until).await.err();
            }
            let Some(joined) = readers.join_next().await else {
                if failed.is_some() || is_stopping(&until.stopping) {
                    break;
                }
                match self.may_come_free(&mut others).await {
                    Ok(true) => rest(CLAIM_INTERVAL, &until.stopping, &Notify::new()).await,
                    Ok(false) => break,
                    Err(error) => failed = Some(error.into()),
                }
                continue;
            };
            match joined.map_err(panicked).and_then(|ended| ended) {
                Ok(ShardEnd::AtTip(reading)) => held.push(reading),
                Ok(_) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // Only now, or they would be claimed again at once.
        for reading in held {
            reading.release().await;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether some shard is held by a process that has not been seen to live: its lease is as it was at first.
    async fn may_come_free(&self, others: &mut Others) -> Result<bool, TasksError> {
        let now = self.edges.tasks.now().await?;
        let rows = self.edges.tasks.shards().await?;
        let of_stream = rows.into_iter().filter(|row| row.stream == self.id && row.finished_at.is_none());
        let of_others =
            of_stream.filter(|row| row.worker.as_ref().is_some_and(|worker| *worker != self.settings.worker));
        let mut may_come_free = false;
        for (shard, lease) in of_others.filter_map(|row| row.lease.map(|lease| (row.shard, lease))) {
            may_come_free |= match lease > now {
                true => *others.leases.entry(shard).or_insert(lease) == lease,
                // It ended since shards were claimed last.
                false => others.ended.insert(shard),
            };
        }
        others.looks += 1;
        // Most have shown by the second time that they live.
        if may_come_free && others.looks == 2 {
            tracing::warn!(source = %self.id.source, stream = self.id.stream,
                "waiting until the readers of other shards show that they live, or until their leases end");
        }
        Ok(may_come_free)
    }

    /// Learns of shards if it is time, and begins to read those that are free.
    async fn turn(&self, look: bool, readers: &mut Readers, until: &Until) -> Result<(), StreamError> {
        if look {
            let mut stopping = until.stopping.clone();
            tokio::select! {
                looked = self.look() => looked?,
                _ = stopping.wait_for(|stop| *stop != Stop::Work) => return Ok(()),
            }
        }
        loop {
            let asked_at = Instant::now();
            let Some(claim) = self.edges.tasks.claim_shard(&self.request()).await? else { return Ok(()) };
            readers.spawn(self.reading(claim, asked_at).run(until.clone()));
        }
    }

    fn reading(&self, claim: ShardClaim, asked_at: Instant) -> Reading {
        let label = self.label(&claim.lease.shard);
        tracing::info!(source = %label.source, shard = label.shard, from = ?claim.from,
            taken_from = claim.taken_from, "a shard is read from here on");
        let hold = self.heartbeats.hold_shard(claim.lease.clone(), asked_at);
        Reading { streaming: self.clone(), claim, label, hold }
    }

    /// Tells the task database which shards there are; unread ones that the stream no longer has are gaps.
    async fn look(&self) -> Result<(), StreamError> {
        let listed_at = self.edges.tasks.now().await?;
        let shards = self.work.stream.shards().await?;
        let id = |shard: &neartime_ingest::channel::ShardId| ShardId(shard.as_str().to_owned());
        let declared: Vec<_> = shards
            .iter()
            .map(|shard| ShardDeclaration { shard: id(&shard.id), parents: shard.parents.iter().map(id).collect() })
            .collect();
        self.edges.tasks.declare_shards(&self.id, &declared, InitialPosition::Horizon).await?;
        let present: Vec<_> = declared.into_iter().map(|shard| shard.shard).collect();
        for gone in self.edges.tasks.forget_shards(&self.id, &present, listed_at).await? {
            if gone.finished_at.is_none() {
                self.gap(self.label(&gone.shard), format!("the whole rest, from {:?}", gone.from));
            }
        }
        Ok(())
    }

    fn gap(&self, shard: ShardLabel, gap: String) {
        tracing::error!(source = %shard.source, stream = shard.stream, shard = shard.shard, gap,
            "records left the stream before they were read");
        self.edges.observer.observe(&Event::StreamGap { shard, gap });
    }

    fn request(&self) -> ShardRequest {
        ShardRequest {
            stream: self.id.clone(),
            worker: self.settings.worker.clone(),
            lease: self.settings.lease,
            // The spread over workers is the task database's; there is no need to leave shards unread.
            max_shards: u32::MAX,
        }
    }

    fn label(&self, shard: &ShardId) -> ShardLabel {
        ShardLabel { source: self.id.source.clone(), stream: self.id.stream.clone(), shard: shard.0.clone() }
    }

    fn failed(&self, error: &StreamError) {
        let (source, error) = (&self.id.source, chain(error));
        tracing::warn!(%source, stream = self.id.stream, error, "a stream could not be read; it is tried again");
        let (source, channel) = (source.clone(), Channel::Stream);
        self.edges.observer.observe(&Event::DiscoveryFailed { source, channel, error });
    }
}

/// Takes note of the readers that ended; after one that reached its shard's end there may be children.
fn ended(readers: &mut Readers, looked_at: &mut Option<Instant>) -> Result<(), StreamError> {
    while let Some(joined) = readers.try_join_next() {
        if let ShardEnd::Finished = joined.map_err(panicked)?? {
            *looked_at = None;
        }
    }
    Ok(())
}

fn panicked(error: tokio::task::JoinError) -> StreamError {
    StreamError::Panicked(crate::compute::panic_text(error))
}

#[cfg(test)]
mod tests;
