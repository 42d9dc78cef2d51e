//! Which shards of a stream may be read, and from where.

use std::collections::HashMap;

use neartime_model::Instant;

use super::{Place, Position, Shard, ShardId};

/// How far a shard has come, as the task database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardStanding {
    /// It was never read.
    Untouched,
    /// It is read up to here.
    ReadTo {
        /// The last record that was taken care of.
        place: Place,
        /// See [`Page::caught_up_at`](super::Page::caught_up_at).
        caught_up_at: Option<Instant>,
    },
    /// It is read to its end.
    Finished,
}

/// The shards that may be read now, each with its position, in the order of their names.
///
/// A shard waits until its parents are read to their ends; a parent that has left the stream holds nobody back. What
/// was never read begins at its oldest record, always: what a split or merge made holds records that nobody read yet.
/// Shards that are not in `standings` are untouched.
pub fn ready_shards(shards: &[Shard], standings: &HashMap<ShardId, ShardStanding>) -> Vec<(ShardId, Position)> {
    let finished = |id: &ShardId| standings.get(id) == Some(&ShardStanding::Finished);
    let present = |id: &ShardId| shards.iter().any(|shard| shard.id == *id);
    let waits = |shard: &Shard| shard.parents.iter().any(|parent| present(parent) && !finished(parent));
    let mut ready: Vec<_> = shards
        .iter()
        .filter(|shard| !finished(&shard.id) && !waits(shard))
        .map(|shard| (shard.id.clone(), position(standings.get(&shard.id))))
        .collect();
    ready.sort_by(|one, other| one.0.cmp(&other.0));
    ready
}

fn position(standing: Option<&ShardStanding>) -> Position {
    match standing {
        Some(ShardStanding::ReadTo { place, caught_up_at }) => {
            Position::After { place: place.clone(), caught_up_at: *caught_up_at }
        }
        Some(ShardStanding::Untouched | ShardStanding::Finished) | None => Position::Oldest,
    }
}
