//! Streams: shards of records in order, which split and merge.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use neartime_model::{Classify, ErrorKind, Instant, Span};

use super::ChannelError;

/// A stream of records in shards.
#[async_trait]
pub trait EventStream: Send + Sync + fmt::Debug {
    /// The stream's name, for logs and metrics.
    fn name(&self) -> &str;

    /// The shards that still hold records, closed ones included, in no order.
    async fn shards(&self) -> Result<Vec<Shard>, ChannelError>;

    /// Begins to read a shard.
    async fn open(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn ShardReader>, ChannelError>;
}

/// Reads one shard, page by page. An iterator that expired is renewed after the last record read.
#[async_trait]
pub trait ShardReader: Send + fmt::Debug {
    /// The next page, at once: empty where nothing new came, so that the caller decides how long to wait.
    ///
    /// A reader that failed can be asked again, and goes on where it stood.
    async fn next(&mut self) -> Result<Page, ChannelError>;
}

/// What one request for records gave.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records in order, those of aggregates one by one.
    pub records: Vec<Record>,
    /// Where the page ends, also where its last records hold nothing; `None` where there were none at all.
    pub end: Option<Place>,
    /// How far the page's end is behind the newest record; zero at the tip.
    pub behind: Option<Span>,
    /// All that arrived before this instant, by the reader's clock, has been read: to be kept with the checkpoint,
    /// so that a shard that was merely idle is not taken for one with a gap.
    pub caught_up_at: Option<Instant>,
    /// Records that may have been lost before this page.
    pub gap: Option<Gap>,
    /// The shard has ended with this page, and these go on; `None` while it has not.
    pub children: Option<Vec<Shard>>,
}

/// One record as its producer sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// When the stream took it, by the stream's clock, to the millisecond.
    pub arrived_at: Instant,
    /// Its bytes.
    pub data: Bytes,
}

/// A shard's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(String);

impl ShardId {
    /// Takes the text as it is.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A shard of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub id: ShardId,
    /// The shards whose records come before its own: one after a split, two after a merge. Parents that have left the
    /// stream stay named.
    pub parents: Vec<ShardId>,
}

/// Where to begin in a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the oldest record that is still there.
    Oldest,
    /// At what comes from now on.
    Newest,
    /// At the first record that arrived at or after an instant.
    At(Instant),
    /// After a checkpoint.
    After {
        /// The last record that was taken care of.
        place: Place,
        /// See [`Page::caught_up_at`]; without it, a shard whose checkpoint has left the stream counts as having a
        /// gap.
        caught_up_at: Option<Instant>,
    },
}

/// A place in a shard, as a checkpoint keeps it. Written as the sequence number, with `:` and the sub-sequence within
/// an aggregate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The record's number.
    pub sequence: SequenceNumber,
    /// Which record of an aggregate, from 0; `None` for a record that is none, and for the end of a whole aggregate.
    pub sub_sequence: Option<u64>,
}

/// In the order of the shard: the end of an aggregate comes after all that is in it.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let within = |place: &Self| place.sub_sequence.map_or((1, 0), |sub| (0, sub));
        self.sequence.cmp(&other.sequence).then_with(|| within(self).cmp(&within(other)))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub_sequence {
            None => self.sequence.fmt(f),
            Some(sub) => write!(f, "{}:{sub}", self.sequence),
        }
    }
}

/// Text that is no place in a shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no place in a shard: a whole number, or two with a colon between them")]
pub struct InvalidPlace {
    text: String,
}

impl Classify for InvalidPlace {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Failed
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let invalid = || InvalidPlace { text: text.to_owned() };
        let (sequence, sub_sequence) = match text.split_once(':') {
            None => (text, None),
            Some((sequence, sub)) => (sequence, Some(sub.parse().map_err(|_| invalid())?)),
        };
        Ok(Self { sequence: SequenceNumber::parse(sequence).ok_or_else(invalid)?, sub_sequence })
    }
}

/// A record's number in its shard: a whole number of up to 128 decimal digits, ever growing, not without holes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequenceNumber(String);

impl SequenceNumber {
    /// Reads decimal digits; leading zeros fall away.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = text.trim_start_matches('0');
        Some(Self(if digits.is_empty() { "0" } else { digits }.to_owned()))
    }

    /// Its decimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// By value, not by text.
impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Records of a shard that may have left the stream before they were read: the stream keeps them for a while only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Everything up to here was read.
    pub after: Place,
    /// Everything that had arrived by then was read, if that is known.
    pub after_at: Option<Instant>,
    /// The first record that is still there, or `None` where none is.
    pub until: Option<Place>,
    /// When that one arrived; where none is, the instant at which that was seen.
    pub until_at: Instant,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {}", self.after)?;
        if let Some(at) = self.after_at {
            write!(f, " ({at})")?;
        }
        match &self.until {
            Some(place) => write!(f, " until {place} ({})", self.until_at),
            None => write!(f, " until {}", self.until_at),
        }
    }
}
