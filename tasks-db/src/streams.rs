//! Streams cut into shards: which worker reads which shard, and how far it came.

use std::fmt;

use neartime_model::{Fence, Instant, SourceName, Span};

/// A stream that a source reads. Two sources on one stream each have their own place in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The source.
    pub source: SourceName,
    /// The stream's name.
    pub stream: String,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of source {}", self.stream, self.source)
    }
}

/// A shard's name within its stream: `shardId-000000000003`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub String);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A shard as the stream lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDeclaration {
    /// Its name.
    pub shard: ShardId,
    /// The shards that it was split or merged from: none, one or two. They may be gone already.
    pub parents: Vec<ShardId>,
}

/// Where the reading of a stream begins that was never read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialPosition {
    /// At the oldest record that the stream still has.
    Horizon,
    /// At records that arrive from now on. It is remembered as the present instant, so that a worker that dies before
    /// its first checkpoint skips nothing.
    Latest,
    /// At records that arrived at or after this instant.
    At(Instant),
}

/// A place in a shard: everything up to and including it was registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The record's sequence number, as the stream writes it.
    pub sequence: String,
    /// The last event within an aggregated record, from 0; null where the record is done.
    pub sub_sequence: Option<u64>,
}

/// Where the reading of a shard goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// At its oldest record.
    Horizon,
    /// At records that arrived at or after this instant.
    At(Instant),
    /// After this place.
    After(Position),
}

/// The right to read a shard and to write how far that came, until another claim gets a higher fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShardLease {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
    /// The claim's fence.
    pub fence: Fence,
}

/// What asks for a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRequest {
    /// The stream.
    pub stream: StreamId,
    /// The worker's name, another for each process: the spread counts by it.
    pub worker: String,
    /// How long the claim is held without a heartbeat.
    pub lease: Span,
    /// Shards of this stream that one worker holds at most.
    pub max_shards: u32,
}

/// A shard, taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardClaim {
    /// What every later write must show.
    pub lease: ShardLease,
    /// Where to go on.
    pub from: ReadFrom,
    /// All that had arrived before this instant was done at the last checkpoint; `None` where it is not known.
    pub caught_up_at: Option<Instant>,
    /// The worker that still held it, and had at least two shards more than this one.
    pub taken_from: Option<String>,
    /// When the lease ends, by the database's clock.
    pub lease_until: Instant,
}

/// How far a shard was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last place that is done with; null where it has not moved.
    pub position: Option<Position>,
    /// How long ago that was before which all that arrived is done; `None` where it is not known.
    pub behind: Option<Span>,
}

/// A shard as people and metrics see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
    /// The shards that it was split or merged from.
    pub parents: Vec<ShardId>,
    /// Where reading goes on.
    pub from: ReadFrom,
    /// Who reads it, or did so last; null before the first claim and after a release.
    pub worker: Option<String>,
    /// When the lease ends or ended; null unless it was claimed.
    pub lease: Option<Instant>,
    /// How long before the last checkpoint that was before which all that had arrived was done; null where it was not
    /// known.
    pub behind: Option<Span>,
    /// When the last checkpoint was written; null before the first.
    pub checkpoint_at: Option<Instant>,
    /// When its end was reached; null before that.
    pub finished_at: Option<Instant>,
}
