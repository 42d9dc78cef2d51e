//! Whose runs end when: a list in a file of users.
//!
//! ```text
//! list   for each class: entries × (last_ms i64, place of the user's record u32), sorted, in blocks
//! heads  for each block: last_ms i64 of its first entry, check u32
//! ```
//!
//! The heads are read with the index of the file; they tell which blocks are worth reading.

use std::ops::Range;

use super::hash::check;

const ENTRY_BYTES: usize = 12;
const HEAD_BYTES: usize = 12;

/// So many entries are read, and checked, together; the last block of a class may have fewer.
const BLOCK_ENTRIES: usize = 256;

/// A run that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) last_ms: i64,
    /// Where the record of its user begins.
    pub(super) place: u32,
}

/// The heads of all blocks.
#[derive(Debug, Default)]
pub(super) struct ExpiryIndex {
    classes: Vec<Class>,
}

#[derive(Debug)]
struct Class {
    /// Where its entries lie in the list.
    range: Range<u64>,
    heads: Vec<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    first_ms: i64,
    check: u32,
}

/// Where a block lies in the list.
#[derive(Clone, Debug)]
pub(super) struct ExpiryBlock {
    pub(super) range: Range<u64>,
    check: u32,
}

/// How many bytes the list takes, by the entries of each class.
pub(super) fn list_bytes(counts: &[usize]) -> usize {
    counts.iter().sum::<usize>() * ENTRY_BYTES
}

/// How many bytes the heads take.
pub(super) fn head_bytes(counts: &[usize]) -> usize {
    counts.iter().map(|count| count.div_ceil(BLOCK_ENTRIES)).sum::<usize>() * HEAD_BYTES
}

/// Appends the entries of a class, which are sorted, and their heads.
pub(super) fn write_expiry(entries: &[(i64, u32)], list: &mut Vec<u8>, heads: &mut Vec<u8>) {
    for block in entries.chunks(BLOCK_ENTRIES) {
        let begin = list.len();
        for (last_ms, place) in block {
            list.extend(last_ms.to_le_bytes());
            list.extend(place.to_le_bytes());
        }
        heads.extend(block[0].0.to_le_bytes());
        heads.extend(check(&list[begin..]).to_le_bytes());
    }
}

impl ExpiryIndex {
    /// Reads the heads of classes of so many entries.
    pub(super) fn read(counts: &[usize], heads: &[u8]) -> Self {
        let mut heads = heads.chunks_exact(HEAD_BYTES).map(|head| {
            let Expiry { last_ms, place } = read_entry(head);
            Head { first_ms: last_ms, check: place }
        });
        let mut begin = 0;
        let class = |&count: &usize| {
            let range = begin..begin + (count * ENTRY_BYTES) as u64;
            begin = range.end;
            Class { range, heads: heads.by_ref().take(count.div_ceil(BLOCK_ENTRIES)).collect() }
        };
        Self { classes: counts.iter().map(class).collect() }
    }

    /// The blocks that may have entries of `class` in `(after_ms, until_ms]`.
    pub(super) fn blocks(&self, class: u8, after_ms: i64, until_ms: i64) -> impl Iterator<Item = ExpiryBlock> {
        let Class { range, heads } = &self.classes[usize::from(class)];
        // The block before the first that begins later may end later.
        let begin = heads.partition_point(|head| head.first_ms <= after_ms).saturating_sub(1);
        let end = heads.partition_point(|head| head.first_ms <= until_ms);
        (begin..end).map(|at| {
            let place = |at: usize| (range.start + (at * BLOCK_ENTRIES * ENTRY_BYTES) as u64).min(range.end);
            ExpiryBlock { range: place(at)..place(at + 1), check: heads[at].check }
        })
    }
}

impl ExpiryBlock {
    /// The entries in these bytes; `None` if they are not what was written.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<impl Iterator<Item = Expiry>> {
        (check(bytes) == self.check).then(|| bytes.chunks_exact(ENTRY_BYTES).map(read_entry))
    }
}

fn read_entry(bytes: &[u8]) -> Expiry {
    let (last_ms, place) = bytes.split_at(8);
    Expiry {
        last_ms: i64::from_le_bytes(last_ms.try_into().expect("eight bytes")),
        place: u32::from_le_bytes(place.try_into().expect("four bytes")),
    }
}
