//! Rows of one source, in order of their users.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use datafusion::arrow::buffer::Buffer;

use crate::error::AirError;
use crate::udb::Entry;

/// Users with their entries, in blocks of any size.
pub(crate) trait Source: fmt::Debug + Send {
    /// The next users, not before those of the last block in order of their ids; never empty. `None` at the end.
    fn next(&mut self) -> Result<Option<Block>, AirError>;
}

/// Users in rising order of their ids, with their entries; the last one may go on in the next block.
#[derive(Debug)]
pub(crate) struct Block {
    /// What the ids are parts of.
    bytes: Buffer,
    users: Vec<User>,
    entries: Vec<Entry>,
}

/// Where a user's id lies, and where the entries end; they begin where those of the user before end.
#[derive(Clone, Copy, Debug)]
struct User {
    id_begin: u32,
    id_end: u32,
    entries_end: u32,
}

/// A block in the making.
#[derive(Debug)]
pub(crate) struct BlockBuilder(Block);

impl BlockBuilder {
    /// With room for so many users and entries, whose ids are parts of these bytes.
    pub(crate) fn new(bytes: Buffer, users: usize, entries: usize) -> Self {
        Self(Block { bytes, users: Vec::with_capacity(users), entries: Vec::with_capacity(entries) })
    }

    /// Where entries of the next user go; [`BlockBuilder::end_user`] tells whose they were.
    pub(crate) fn entries(&mut self) -> &mut Vec<Entry> {
        &mut self.0.entries
    }

    /// Ends a user by where the id lies, and whose entries go up to the `entries_end`-th. Ids must come in rising order.
    pub(crate) fn end_user(&mut self, id: Range<usize>, entries_end: usize) {
        let position = |length: usize| u32::try_from(length).expect("a block is small");
        let (id_begin, id_end) = (position(id.start), position(id.end));
        self.0.users.push(User { id_begin, id_end, entries_end: position(entries_end) });
    }

    /// The block; `None` if it has no users.
    pub(crate) fn finish(self) -> Option<Block> {
        (!self.0.users.is_empty()).then_some(self.0)
    }
}

impl Block {
    /// How many users there are.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// The id of the user at a place.
    pub(crate) fn id(&self, at: usize) -> &[u8] {
        let user = &self.users[at];
        &self.bytes[user.id_begin as usize..user.id_end as usize]
    }

    /// Where the entries of the user at a place end; they begin where those of the user before end.
    pub(crate) fn entries_end(&self, at: usize) -> usize {
        self.users[at].entries_end as usize
    }

    /// Where the entries of the user at a place begin.
    pub(crate) fn entries_begin(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.entries_end(before))
    }

    /// The entries of all users.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The id of the last user.
    pub(crate) fn last_id(&self) -> &[u8] {
        self.id(self.len() - 1)
    }

    /// The first user from place `from` on whose id is not below `bound`.
    pub(crate) fn first_not_below(&self, bound: &[u8], from: usize) -> usize {
        // Steps that double: most windows take a small part of a block.
        let is_below = |at: usize| at < self.len() && compare(self.id(at), bound) == Ordering::Less;
        let (mut below, mut step) = (from, 1);
        while is_below(below + step - 1) {
            below += step;
            step *= 2;
        }
        let (mut low, mut high) = (below, (below + step).min(self.len()));
        while low < high {
            let middle = low + (high - low) / 2;
            if is_below(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// The order of two ids by their bytes; those of equal usual lengths are compared word by word, quicker than by a call.
pub(crate) fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let words = (left.first_chunk::<8>(), left.last_chunk::<8>(), right.first_chunk::<8>(), right.last_chunk::<8>());
    match words {
        (Some(a), Some(b), Some(c), Some(d)) if left.len() == right.len() && left.len() <= 16 => {
            let (a, b, c, d) =
                (u64::from_be_bytes(*a), u64::from_be_bytes(*b), u64::from_be_bytes(*c), u64::from_be_bytes(*d));
            a.cmp(&c).then(b.cmp(&d))
        }
        _ => left.cmp(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_of_their_bytes() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut id = || (0..random.usize(0..20)).map(|_| random.u8(..) % 3 * 100).collect::<Vec<u8>>();
            let (left, right) = (id(), id());
            assert_eq!(compare(&left, &right), left.cmp(&right), "{left:?} {right:?}");
        }
    }

    #[test]
    fn a_bound_is_found_from_any_place() {
        let ids: String = (0..100).map(|user| format!("{:03}", user / 2 * 2)).collect();
        let mut builder = BlockBuilder::new(ids.into_bytes().into(), 0, 0);
        (0..100).for_each(|user| builder.end_user(3 * user..3 * user + 3, 0));
        let block = builder.finish().unwrap();
        for bound in ["", "000", "001", "050", "0501", "098", "099", "9"] {
            for from in 0..=100 {
                let expected = (from..100).find(|&at| block.id(at) >= bound.as_bytes()).unwrap_or(100);
                assert_eq!(block.first_not_below(bound.as_bytes(), from), expected, "{bound} from {from}");
            }
        }
    }
}
