//! Channels: what tells of new files besides listing, and what carries events that have no file yet.
//!
//! A [`Queue`] gives messages that name files; an [`EventStream`] gives records, which name files or are the events
//! themselves. Both traits are what the scheduler sees; the services behind them are clients of other crates. What
//! the messages say is read here, by pure functions, because it is text that anybody can send.
//!
//! **Invariant:** nothing here acknowledges anything: a message is deleted, and a checkpoint moves, only by a call of
//! whoever committed the registration.

mod announce;
mod error;
mod keys;
mod notice;
mod queue;
mod stream;
#[cfg(test)]
mod tests;

pub use announce::{Announced, FileAt, Placed, announced, place};
pub use error::ChannelError;
pub use keys::keys_of_record;
pub use notice::{Notice, ObjectNotice, Unparseable, form_decoded, notice_of_message};
pub use queue::{LONGEST_WAIT, Message, NotDeleted, Queue, Receipt};
pub use stream::{
    EventStream, Gap, InvalidPlace, Page, Place, Position, Record, SequenceNumber, Shard, ShardId, ShardReader,
};
