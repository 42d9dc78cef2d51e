//! Queues: messages that tell of files, each deleted once what it tells is registered.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{ChannelError, Notice};

/// The longest that one call waits for messages.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// A queue of notifications.
#[async_trait]
pub trait Queue: Send + Sync + fmt::Debug {
    /// The queue's name, for logs and metrics.
    fn name(&self) -> &str;

    /// Asks whether the queue is there and may be read.
    async fn check(&self) -> Result<(), ChannelError>;

    /// Waits up to `wait` for messages (long polling, whole seconds, at most [`LONGEST_WAIT`]); none where the queue says
    /// that none came. A queue that does not answer is an error, whatever `wait` is.
    async fn receive(&self, wait: Duration) -> Result<Vec<Message>, ChannelError>;

    /// Deletes messages; gives those that could not be deleted. They come again, which is harmless.
    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<NotDeleted>, ChannelError>;
}

/// One delivery of one message.
#[derive(Clone, Debug)]
pub struct Message {
    /// What deletes it.
    pub receipt: Receipt,
    /// The service's name for the message, the same at each delivery.
    pub id: String,
    /// How often it was delivered so far, this time included.
    pub deliveries: u32,
    /// What it tells. Only a notice that is [understood as a whole](Notice::is_understood) may be deleted: the queue
    /// gives the others to its dead-letter queue after some deliveries.
    pub notice: Notice,
}

/// What deletes one delivery of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A message that could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDeleted {
    /// Which.
    pub receipt: Receipt,
    /// What the service said.
    pub reason: String,
}
