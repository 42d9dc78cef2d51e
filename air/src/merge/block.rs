//! Rows of one source, in order of their users.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use datafusion::arrow::buffer::Buffer;
use neartime_model::{shared_prefix, text_key};

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
    bytes: Vec<Buffer>,
    users: Vec<User>,
    entries: Vec<Entry>,
    /// How many bytes all ids begin with.
    shared: usize,
    /// By user: the key of the bytes after those. It tells most users apart without another look at ids that have left
    /// the processor's cache by then.
    keys: Vec<u64>,
}

/// Where a user's id lies, and where the entries end; they begin where those of the user before end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct User {
    /// Which of the block's bytes the id is part of.
    pub(crate) bytes: u32,
    pub(crate) id_begin: u32,
    pub(crate) id_len: u32,
    pub(crate) entries_end: u32,
}

impl Block {
    /// Users in rising order of their ids, which are parts of these bytes; `None` if there are none.
    pub(crate) fn new(bytes: Vec<Buffer>, users: Vec<User>, entries: Vec<Entry>) -> Option<Self> {
        let shared = shared_prefix(users.first()?.id(&bytes), users.last()?.id(&bytes));
        let keys = users.iter().map(|user| text_key(user.id(&bytes), shared)).collect();
        Some(Self { bytes, users, entries, shared, keys })
    }

    /// How many users there are.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// The id of the user at a place.
    pub(crate) fn id(&self, at: usize) -> &[u8] {
        self.users[at].id(&self.bytes)
    }

    /// How many bytes all ids begin with.
    pub(super) fn shared_prefix(&self) -> usize {
        self.shared
    }

    /// The keys of the users in a range, after no more than the bytes that all ids begin with.
    pub(super) fn keys(&self, users: Range<usize>, after: usize) -> impl Iterator<Item = u64> {
        let more = self.shared - after;
        let lead = text_key(&self.id(0)[..self.shared], after);
        self.keys[users].iter().map(move |key| lead | key.checked_shr(8 * more as u32).unwrap_or(0))
    }

    /// How long the id of the user at a place is.
    pub(super) fn id_len(&self, at: usize) -> usize {
        self.users[at].id_len as usize
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

impl User {
    /// The id, of the block's bytes.
    pub(crate) fn id(self, bytes: &[Buffer]) -> &[u8] {
        &bytes[self.bytes as usize][self.id_begin as usize..][..self.id_len as usize]
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
    fn keys_are_told_after_as_few_bytes_as_wanted() {
        for (prefix, width) in [("", 1), ("u", 9), ("user-", 3), ("a long prefix-", 2), ("a long prefix-", 14)] {
            let ids: Vec<String> = (0..9).map(|user| format!("{prefix}{user:0width$}")).collect();
            let id_len = u32::try_from(ids[0].len()).unwrap();
            let user = |at: u32| User { bytes: 0, id_begin: at * id_len, id_len, entries_end: 0 };
            let block = Block::new(vec![ids.concat().into_bytes().into()], (0..9).map(user).collect(), Vec::new());
            let block = block.unwrap();
            assert_eq!(block.shared_prefix(), prefix.len() + width - 1);
            for after in 0..=block.shared_prefix() {
                let expected: Vec<u64> = ids[2..7].iter().map(|id| text_key(id.as_bytes(), after)).collect();
                assert_eq!(block.keys(2..7, after).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn a_bound_is_found_from_any_place() {
        let ids: String = (0..100).map(|user| format!("{:03}", user / 2 * 2)).collect();
        let users = (0..100).map(|user| User { bytes: 0, id_begin: 3 * user, id_len: 3, entries_end: 0 }).collect();
        let block = Block::new(vec![ids.into_bytes().into()], users, Vec::new()).unwrap();
        for bound in ["", "000", "001", "050", "0501", "098", "099", "9"] {
            for from in 0..=100 {
                let expected = (from..100).find(|&at| block.id(at) >= bound.as_bytes()).unwrap_or(100);
                assert_eq!(block.first_not_below(bound.as_bytes(), from), expected, "{bound} from {from}");
            }
        }
    }
}
