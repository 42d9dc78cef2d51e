//! One shard, read under one claim.

use std::sync::Arc;
use std::time::{Duration, Instant};

use neartime_ingest::channel::{Page, Place, Position, ShardId, ShardReader};
use neartime_model::{Span, chain};
use neartime_tasks_db::{Checkpoint, Position as Kept, ReadFrom, ShardClaim, TasksError};
use tokio::sync::{Notify, watch};

use super::events::Events;
use super::intake::{Done, Intake};
use super::keys::Keys;
use super::{StreamError, Streaming};
use crate::daemon::{Stop, is_stopping, rest};
use crate::discovery::registration;
use crate::edges::Carries;
use crate::heartbeat::Hold;
use crate::{Backoff, Channel, Event, ShardLabel};

/// Between two requests for a shard's records: it allows five a second, to all of its readers together.
const BETWEEN_PAGES: Duration = Duration::from_millis(250);
/// The same where nothing new had come.
const AT_THE_TIP: Duration = Duration::from_secs(1);
/// How often it is written that an idle shard is read up to its newest record.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(30);

/// How far to read, unless the process stops before.
#[derive(Clone)]
pub(super) struct Until {
    pub(super) stopping: watch::Receiver<Stop>,
    pub(super) goal: Goal,
}

#[derive(Clone)]
pub(super) enum Goal {
    /// On and on; the workers are woken for what is registered.
    OnAndOn(Arc<Notify>),
    /// To the newest record, or at least to what had arrived at this instant.
    Tip(neartime_model::Instant),
}

/// How the reading of a shard ended.
pub(super) enum ShardEnd {
    /// Every record of it was taken care of, and none will come.
    Finished,
    /// It was given back, or lost to another claim.
    Left,
    /// It stands at its newest record, and is still held.
    AtTip(Box<Reading>),
}

/// One shard under one claim.
pub(super) struct Reading {
    pub(super) streaming: Streaming,
    pub(super) claim: ShardClaim,
    pub(super) label: ShardLabel,
    pub(super) hold: Hold,
}

/// How a reading came to its end by itself.
enum ReadTo {
    End,
    Tip,
    Stop,
}

impl Reading {
    /// Reads until the shard, the process or the claim ends. What was taken in and not written when the claim is lost
    /// is dropped: whoever holds the shard now reads it again.
    pub(super) async fn run(mut self, until: Until) -> Result<ShardEnd, StreamError> {
        let (streaming, claim, label) = (self.streaming.clone(), self.claim.clone(), self.label.clone());
        let mut shard = Shard { streaming: &streaming, claim: &claim, label: &label, until: &until };
        let mut stopping = until.stopping.clone();
        let read = tokio::select! {
            read = shard.read() => read,
            // Whoever comes next reads again what was not written.
            _ = stopping.wait_for(|stop| *stop == Stop::GiveBack) => Ok(ReadTo::Stop),
            lost = self.hold.lost() => {
                tracing::warn!(source = %label.source, shard = label.shard, reason = lost.as_str(), "a shard is left");
                self.left();
                return Ok(ShardEnd::Left);
            }
        };
        match read {
            Ok(ReadTo::End) => {
                tracing::info!(source = %label.source, shard = label.shard, "a shard was read to its end");
                self.left();
                Ok(ShardEnd::Finished)
            }
            Ok(ReadTo::Tip) => Ok(ShardEnd::AtTip(Box::new(self))),
            Ok(ReadTo::Stop) => {
                self.release().await;
                Ok(ShardEnd::Left)
            }
            Err(StreamError::Tasks(error)) if error.is_lease_lost() => {
                tracing::warn!(source = %label.source, shard = label.shard, "a shard was lost: what was not written is dropped");
                self.left();
                Ok(ShardEnd::Left)
            }
            Err(error) => {
                self.release().await;
                Err(error)
            }
        }
    }

    /// Gives the shard back, so that nobody has to wait for the lease to run out.
    pub(super) async fn release(self) {
        match self.streaming.edges.tasks.release_shard(&self.claim.lease).await {
            Err(error) if !error.is_lease_lost() => {
                tracing::warn!(error = chain(&error), "a shard could not be given back: its lease will run out");
            }
            _ => {}
        }
        self.left();
    }

    fn left(&self) {
        self.streaming.edges.observer.observe(&Event::ShardLeft(self.label.clone()));
    }
}

/// The reading itself.
struct Shard<'a> {
    streaming: &'a Streaming,
    claim: &'a ShardClaim,
    label: &'a ShardLabel,
    until: &'a Until,
}

impl Shard<'_> {
    async fn read(&mut self) -> Result<ReadTo, StreamError> {
        let from = self.from()?;
        let id = ShardId::new(&self.claim.lease.shard.0);
        let mut reader = self.streaming.work.stream.open(&id, &from).await?;
        let mut intake: Box<dyn Intake> = match &self.streaming.work.carries {
            Carries::Keys => Box::new(Keys::new(self.streaming.source.clone(), self.label.clone())),
            Carries::Events(reservoir) => {
                Box::new(Events::new(reservoir.clone(), id, Arc::clone(&self.streaming.edges.clock)))
            }
        };
        let mut written_at = Instant::now();
        loop {
            if self.is_stopping() {
                let done = intake.done(true).await?;
                self.write(done, None).await?;
                return Ok(ReadTo::Stop);
            }
            let page = self.next(reader.as_mut()).await?;
            let taken = intake.take(&page).await?;
            self.tell(&page, taken);
            if page.children.is_some() {
                let done = intake.done(true).await?;
                self.finish(done).await?;
                return Ok(ReadTo::End);
            }
            let is_at_tip = page.records.is_empty() && page.behind.is_none_or(|behind| behind <= Span::ZERO);
            let is_enough = match &self.until.goal {
                Goal::Tip(asked_at) if is_at_tip || page.caught_up_at.is_some_and(|until| until >= *asked_at) => {
                    !self.is_closed().await?
                }
                _ => false,
            };
            let done = intake.done(is_enough).await?;
            // Only where nothing is held is all that arrived before also written down.
            let idle = !intake.holds() && written_at.elapsed() >= IDLE_CHECKPOINT;
            if done.is_some() || is_enough || idle {
                let caught_up_at = page.caught_up_at.filter(|_| !intake.holds());
                self.write(done, caught_up_at).await?;
                written_at = Instant::now();
            }
            if is_enough {
                return Ok(ReadTo::Tip);
            }
            self.pause(if is_at_tip { AT_THE_TIP } else { BETWEEN_PAGES }).await;
        }
    }

    /// Whether others go on after this shard: its end is told then, if only some pages behind its last record, and the
    /// others are not read before.
    async fn is_closed(&self) -> Result<bool, StreamError> {
        let shards = self.streaming.work.stream.shards().await?;
        Ok(shards.iter().any(|shard| shard.parents.iter().any(|parent| parent.as_str() == self.label.shard)))
    }

    /// The next page; a stream that is away is asked again for as long as the claim is held.
    async fn next(&self, reader: &mut dyn ShardReader) -> Result<Page, StreamError> {
        let mut failures = 0;
        loop {
            match reader.next().await {
                Ok(page) => return Ok(page),
                Err(error) if matches!(self.until.goal, Goal::Tip(_)) || self.is_stopping() => return Err(error.into()),
                Err(error) => {
                    failures += 1;
                    let (source, error) = (self.label.source.clone(), chain(&error));
                    tracing::warn!(%source, shard = self.label.shard, error, "a shard could not be read; it is tried again");
                    let event = Event::DiscoveryFailed { source, channel: Channel::Stream, error };
                    self.streaming.edges.observer.observe(&event);
                    self.pause(Backoff::Exponential.after(failures, &mut fastrand::Rng::new()).to_std()).await;
                }
            }
        }
    }

    /// Writes how far the shard was read and what came out of it, both or neither.
    async fn write(
        &self,
        done: Option<Done>,
        caught_up_at: Option<neartime_model::Instant>,
    ) -> Result<(), StreamError> {
        let (place, files) = done.map(|done| (done.place, done.files)).unzip();
        let files = files.unwrap_or_default();
        let registration = (!files.is_empty()).then(|| registration(&self.streaming.source, &files));
        // As of now: what was read was written since, which takes its time.
        let behind = caught_up_at.map(|at| self.streaming.edges.clock.now() - at);
        let checkpoint = Checkpoint { position: place.map(kept), behind };
        let tasks = &self.streaming.edges.tasks;
        let registered = tasks.checkpoint(&self.claim.lease, &checkpoint, registration.as_ref()).await?;
        self.registered(files.len() as u64, registered.files);
        Ok(())
    }

    async fn finish(&self, done: Option<Done>) -> Result<(), StreamError> {
        let files = done.map(|done| done.files).unwrap_or_default();
        let registration = (!files.is_empty()).then(|| registration(&self.streaming.source, &files));
        let tasks = &self.streaming.edges.tasks;
        let registered = tasks.finish_shard(&self.claim.lease, registration.as_ref()).await?;
        self.registered(files.len() as u64, registered.files);
        Ok(())
    }

    fn registered(&self, matched: u64, registered: u64) {
        let source = self.label.source.clone();
        if registered > 0 {
            tracing::info!(%source, shard = self.label.shard, matched, files = registered, "new files are registered");
            if let Goal::OnAndOn(wake) = &self.until.goal {
                wake.notify_waiters();
            }
        }
        let event = Event::Discovered { source, channel: Channel::Stream, matched, registered };
        self.streaming.edges.observer.observe(&event);
    }

    fn tell(&self, page: &Page, taken: super::intake::Taken) {
        if let Some(gap) = &page.gap {
            self.streaming.gap(self.label.clone(), gap.to_string());
        }
        let super::intake::Taken { taken, ignored, refused } = taken;
        let (shard, behind) = (self.label.clone(), page.behind);
        self.streaming.edges.observer.observe(&Event::Streamed { shard, taken, ignored, refused, behind });
    }

    /// Where to begin, in the stream's words.
    fn from(&self) -> Result<Position, StreamError> {
        Ok(match &self.claim.from {
            ReadFrom::Horizon => Position::Oldest,
            ReadFrom::At(at) => Position::At(*at),
            ReadFrom::After(kept) => Position::After { place: place(kept)?, caught_up_at: self.claim.caught_up_at },
        })
    }

    fn is_stopping(&self) -> bool {
        is_stopping(&self.until.stopping)
    }

    async fn pause(&self, time: Duration) {
        rest(time, &self.until.stopping, &Notify::new()).await;
    }
}

fn kept(place: Place) -> Kept {
    Kept { sequence: place.sequence.as_str().to_owned(), sub_sequence: place.sub_sequence }
}

fn place(kept: &Kept) -> Result<Place, TasksError> {
    let text = match kept.sub_sequence {
        Some(sub) => format!("{}:{sub}", kept.sequence),
        None => kept.sequence.clone(),
    };
    text.parse().map_err(|error: neartime_ingest::channel::InvalidPlace| TasksError::Broken {
        doing: "read a checkpoint",
        source: Box::new(error),
    })
}
