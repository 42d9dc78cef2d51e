//! Queues: messages tell of files, and are deleted once what they tell is registered.
//!
//! A message is never held while anything is processed. One that is not understood stays, for the dead-letter queue,
//! though what is understood of it is registered; one that tells of nothing of ours is deleted. The listing finds what
//! a queue loses.

use std::time::Duration;

use neartime_ingest::channel::{Announced, ChannelError, LONGEST_WAIT, Message, announced};
use neartime_ingest::{Found, Source};
use neartime_model::{Classify, ErrorKind, chain};
use neartime_tasks_db::TasksError;
use tokio::sync::{Notify, watch};

use crate::daemon::{Scheduler, Stop, is_stopping, rest};
use crate::discovery::registration;
use crate::edges::{QueueWork, SourceWork};
use crate::{Backoff, Channel, Event, QueueOutcome};

/// How long `run --once` lets a queue wait for messages before it says that it is empty.
const ONCE_WAIT: Duration = Duration::from_secs(2);

/// Why a batch of messages could not be taken care of. They come again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Tasks(#[from] TasksError),
}

impl Classify for QueueError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Channel(error) => error.kind(),
            Self::Tasks(error) => error.kind(),
        }
    }
}

impl Scheduler {
    /// Receives and registers until the process stops.
    pub(crate) async fn receive_until(&self, queue: &QueueWork, stopping: watch::Receiver<Stop>, wake: &Notify) {
        let never = Notify::new();
        let mut failures = 0;
        while !is_stopping(&stopping) {
            let mut stopped = stopping.clone();
            let received = tokio::select! {
                // Messages that a cut-off request had taken come again.
                _ = stopped.wait_for(|stop| *stop != Stop::Work) => return,
                received = queue.queue.receive(LONGEST_WAIT) => received,
            };
            let taken = match received {
                Ok(messages) => self.take(queue, messages).await,
                Err(error) => Err(error.into()),
            };
            match taken {
                Ok(registered) => {
                    failures = 0;
                    if registered > 0 {
                        wake.notify_waiters();
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.queue_failed(queue, &error);
                    let pause = Backoff::Exponential.after(failures, &mut fastrand::Rng::new());
                    rest(pause.to_std(), &stopping, &never).await;
                }
            }
        }
    }

    /// Receives and registers until the queue says that there is nothing left. The time that the answer takes is not
    /// bounded here: of a queue that is away the client says so, and the first request may have to get credentials.
    pub(crate) async fn receive_all(&self, queue: &QueueWork) -> Result<(), QueueError> {
        loop {
            let messages = queue.queue.receive(ONCE_WAIT).await?;
            if messages.is_empty() {
                return Ok(());
            }
            self.take(queue, messages).await?;
        }
    }

    /// Registers what messages tell, then deletes those that are understood; gives the number of new file versions.
    async fn take(&self, queue: &QueueWork, messages: Vec<Message>) -> Result<u64, QueueError> {
        if messages.is_empty() {
            self.tell_discovered(queue, &[]);
            return Ok(0);
        }
        let works: Vec<&SourceWork> = queue.sources.iter().filter_map(|name| self.edges.source(name)).collect();
        let sources: Vec<&Source> = works.iter().map(|work| work.source.as_ref()).collect();
        let objects: Vec<_> = messages.iter().flat_map(|message| message.notice.objects.iter().cloned()).collect();
        let announced = announced(&sources, &objects).await?;
        let mut told = Vec::with_capacity(works.len());
        for (work, files) in works.iter().zip(&announced.files) {
            told.push((*work, files.len() as u64, self.register(work, files).await?));
        }
        self.delete(queue, &messages).await?;
        self.tell_discovered(queue, &told);
        self.tell_outcomes(queue, &messages, &announced);
        Ok(told.iter().map(|(_, _, registered)| registered).sum())
    }

    async fn register(&self, work: &SourceWork, files: &[Found]) -> Result<u64, TasksError> {
        if files.is_empty() {
            return Ok(0);
        }
        Ok(self.edges.tasks.register(&registration(work, files)).await?.files)
    }

    /// A message that could not be deleted comes again, which changes nothing.
    async fn delete(&self, queue: &QueueWork, messages: &[Message]) -> Result<(), ChannelError> {
        let understood = messages.iter().filter(|message| message.notice.is_understood());
        let receipts: Vec<_> = understood.map(|message| message.receipt.clone()).collect();
        if receipts.is_empty() {
            return Ok(());
        }
        for left in queue.queue.delete(&receipts).await? {
            tracing::warn!(queue = queue.queue.name(), reason = left.reason, "a message could not be deleted");
        }
        Ok(())
    }

    fn tell_discovered(&self, queue: &QueueWork, told: &[(&SourceWork, u64, u64)]) {
        for source in &queue.sources {
            let of_source = told.iter().find(|(work, ..)| work.source.name == *source);
            let (matched, registered) = of_source.map_or((0, 0), |&(_, matched, registered)| (matched, registered));
            if registered > 0 {
                tracing::info!(%source, queue = queue.queue.name(), matched, files = registered, "new files are registered");
            }
            let (source, channel) = (source.clone(), Channel::Queue);
            self.edges.observer.observe(&Event::Discovered { source, channel, matched, registered });
        }
    }

    fn tell_outcomes(&self, queue: &QueueWork, messages: &[Message], announced: &Announced) {
        let name = queue.queue.name();
        if announced.elsewhere > 0 {
            tracing::warn!(
                queue = name,
                objects = announced.elsewhere,
                "a queue tells of objects where no source looks"
            );
        }
        for message in messages {
            for part in &message.notice.unparseable {
                let (id, deliveries) = (message.id.as_str(), message.deliveries);
                tracing::warn!(
                    queue = name,
                    id,
                    deliveries,
                    reason = chain(part),
                    "a message is not understood and left"
                );
            }
            let outcome = match message.notice.is_understood() {
                false => QueueOutcome::Left,
                true if message.notice.objects.is_empty() => QueueOutcome::Ignored,
                true => QueueOutcome::Registered,
            };
            self.edges.observer.observe(&Event::Received { queue: name.to_owned(), outcome });
        }
    }

    fn queue_failed(&self, queue: &QueueWork, error: &QueueError) {
        let (name, error) = (queue.queue.name(), chain(error));
        tracing::warn!(queue = name, error, "a queue could not be read; it is tried again");
        for source in &queue.sources {
            let (source, channel) = (source.clone(), Channel::Queue);
            self.edges.observer.observe(&Event::DiscoveryFailed { source, channel, error: error.clone() });
        }
    }
}

#[cfg(test)]
mod tests;
