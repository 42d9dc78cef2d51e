//! Groups in memory: one for each row key, with its values folded so far.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, NullBufferBuilder, RecordBatch, StringViewArray, TimestampMillisecondArray,
};
use datafusion::arrow::buffer::{NullBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMillisecondType};
use datafusion::common::exec_err;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::Result;
use neartime_model::{shared_prefix, text_key};

use super::text_column::TextColumn;
use crate::engines::instant_type;
use crate::functions::overflow;
use crate::guard::text;
use crate::{Aggregate, OutputColumn, OutputSchema, Role};

/// Rows of a batch that comes out.
const BATCH_ROWS: usize = 8192;
/// Rows whose groups are looked up together: few enough for what they need to stay in the nearest cache.
const BLOCK_ROWS: usize = 128;
/// The usual size of what memory hands over at once; most groups span no more than two of these.
const CACHE_LINE_BYTES: usize = 64;
/// Slots of the hash table at first; a power of two, like all later sizes.
const FIRST_SLOTS: usize = 1 << 10;

/// The fold of no value: no sum of so few numbers of 64 bits comes near it.
const NOTHING: i128 = i128::MIN;

/// The groups of rows that have the columns of an output, keys as text and values as whole numbers or instants.
pub(super) struct Groups {
    schema: SchemaRef,
    key_columns: usize,
    hasher: RandomState,
    /// Open addressing; at most half of them are used.
    slots: Vec<Slot>,
    /// The groups, one behind the other: four bytes with its number, then its key, for each column four bytes, 0 for a
    /// null, else the length and 1, and the text. What a lookup needs stands together: it waits for memory, not for
    /// the processor.
    keys: Vec<u8>,
    hashes: Vec<u64>,
    /// Where each group begins.
    starts: Vec<u32>,
    values: Vec<Values>,
}

/// A place in the hash table.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Bits of the hash that did not choose the slot.
    tag: u32,
    /// Where the group begins, and 1; 0 if there is none.
    start: u32,
}

/// A group on its way to its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered {
    /// Eight bytes of its key.
    first: u64,
    group: u32,
}

/// One column of values.
struct Values {
    aggregate: Aggregate,
    /// [`NOTHING`] where every value was null.
    folded: Vec<i128>,
}

impl Groups {
    /// No groups of `output` yet; `None` if it has values that are not folded here: floats, whose sums are rounded
    /// once, in the end.
    pub(super) fn of(output: &OutputSchema) -> Option<Self> {
        let values = |column: &OutputColumn| match column.role {
            Role::Value(aggregate) if column.data_type == DataType::Int64 || column.data_type == instant_type() => {
                Some(Values { aggregate, folded: Vec::new() })
            }
            _ => None,
        };
        Some(Self {
            schema: output.arrow(),
            key_columns: output.row_key().count(),
            hasher: RandomState::default(),
            slots: vec![Slot::default(); FIRST_SLOTS],
            hashes: Vec::new(),
            keys: Vec::new(),
            starts: Vec::new(),
            values: output.values().map(values).collect::<Option<_>>()?,
        })
    }

    fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Bytes that it holds, and those that it takes to double.
    pub(super) fn bytes(&self) -> usize {
        let columns = self.values.iter().map(|values| values.folded.capacity() * size_of::<i128>());
        let groups = self.hashes.capacity() * 8 + self.starts.capacity() * 4 + self.slots.capacity() * 8;
        2 * (groups + self.keys.capacity() + columns.sum::<usize>())
    }

    /// Whether another batch can be told apart by 32 bits: of its keys it holds less than a GiB.
    pub(super) fn has_room(&self) -> bool {
        self.keys.len() < 3 << 30 && self.len() < 1 << 30
    }

    /// Folds the rows of a batch in.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = batch.columns()[..self.key_columns].iter().map(text).collect::<Result<Vec<_>>>()?;
        let mut hashes = vec![0; batch.num_rows()];
        create_hashes(keys.iter().map(|keys| keys as &dyn Array), &self.hasher, &mut hashes)?;
        let mut groups: Vec<u32> = Vec::with_capacity(hashes.len());
        for (at, block) in hashes.chunks(BLOCK_ROWS).enumerate() {
            self.touch(block);
            let rows = block.iter().enumerate();
            groups.extend(rows.map(|(row, hash)| self.group_of(&keys, at * BLOCK_ROWS + row, *hash)));
        }
        let count = self.len();
        for (values, column) in self.values.iter_mut().zip(&batch.columns()[self.key_columns..]) {
            values.grow(count);
            match column.data_type() {
                DataType::Int64 => {
                    let numbers = column.as_primitive::<Int64Type>();
                    values.fold(&groups, numbers.values(), numbers.nulls());
                }
                DataType::Timestamp(..) => {
                    let times = column.as_primitive::<TimestampMillisecondType>();
                    values.fold(&groups, times.values(), times.nulls());
                }
                other => return exec_err!("a value of type {other} came to be folded"),
            }
        }
        Ok(())
    }

    /// Brings what lookups of these hashes will need into the cache: all at once, where each of them would wait.
    fn touch(&self, hashes: &[u64]) {
        let mut starts = [0; BLOCK_ROWS];
        for (start, hash) in starts.iter_mut().zip(hashes) {
            *start = self.slots[self.place(*hash).0].start as usize;
        }
        self.touch_keys(starts);
    }

    /// Brings the groups that begin there into the cache.
    #[inline]
    fn touch_keys(&self, starts: impl IntoIterator<Item = usize>) {
        let byte = |at: usize| self.keys.get(at).copied().unwrap_or(0);
        let touched = starts.into_iter().fold(0, |sum, start| sum ^ byte(start) ^ byte(start + CACHE_LINE_BYTES / 2));
        std::hint::black_box(touched);
    }

    /// The group of a row, made if there is none.
    #[inline]
    fn group_of(&mut self, columns: &[StringViewArray], row: usize, hash: u64) -> u32 {
        if self.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let (mut slot, tag) = self.place(hash);
        while self.slots[slot].start != 0 {
            let start = self.slots[slot].start - 1;
            if self.slots[slot].tag == tag
                && let Some(group) = self.group_at(start, columns, row)
            {
                return group;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        let group = u32::try_from(self.len()).expect("there is room");
        let start = u32::try_from(self.keys.len()).expect("there is room");
        self.slots[slot] = Slot { tag, start: start + 1 };
        self.hashes.push(hash);
        self.starts.push(start);
        self.keys.extend_from_slice(&group.to_le_bytes());
        for column in columns {
            let text = value(column, row);
            let length = text.map_or(0, |text| u32::try_from(text.len()).expect("a key is short") + 1);
            self.keys.extend_from_slice(&length.to_le_bytes());
            self.keys.extend_from_slice(text.unwrap_or_default());
        }
        group
    }

    /// The first slot of a hash, and its tag. Neither depends on the lowest bits alone, which may be poor.
    #[inline(always)]
    fn place(&self, hash: u64) -> (usize, u32) {
        let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((spread >> 32) as usize & (self.slots.len() - 1), spread as u32)
    }

    /// The group that begins at `start`, if its key is that of the row.
    #[inline]
    fn group_at(&self, start: u32, columns: &[StringViewArray], row: usize) -> Option<u32> {
        let (group, mut key) = self.keys[start as usize..].split_first_chunk()?;
        for column in columns {
            let (stored, rest) = split(key);
            let same = match (value(column, row), stored) {
                (Some(text), Some(stored)) => is_same(text, stored),
                (text, stored) => text.is_none() && stored.is_none(),
            };
            if !same {
                return None;
            }
            key = rest;
        }
        Some(u32::from_le_bytes(*group))
    }

    /// Doubles the hash table.
    fn grow(&mut self) {
        let slots = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(slots, Slot::default());
        for (hash, start) in self.hashes.iter().zip(&self.starts) {
            let (mut slot, tag) = self.place(*hash);
            while self.slots[slot].start != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            self.slots[slot] = Slot { tag, start: start + 1 };
        }
    }

    /// The columns of a group's key.
    fn key(&self, group: u32) -> impl Iterator<Item = Option<&[u8]>> {
        let mut key = &self.keys[self.starts[group as usize] as usize + 4..];
        (0..self.key_columns).map(move |_| {
            let (column, rest) = split(key);
            key = rest;
            column
        })
    }

    /// The groups as rows, sorted by their keys: nulls first, text by its bytes. An error if a sum does not fit.
    pub(super) fn into_sorted(self) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        // Most rows are told apart by the first bytes of their first column that are not the same in all of them.
        let count = u32::try_from(self.len()).expect("there was room");
        let first = |group| self.key(group).next().flatten();
        let shared = shared_beginning((0..count).filter_map(first));
        let of = |group| first(group).map_or(0, |text| text_key(text, shared));
        let mut order: Vec<Ordered> = (0..count).map(|group| Ordered { first: of(group), group }).collect();
        order.sort_unstable();
        for alike in order.chunk_by_mut(|one, other| one.first == other.first).filter(|alike| alike.len() > 1) {
            alike.sort_unstable_by(|one, other| self.key(one.group).cmp(self.key(other.group)));
        }
        let order: Vec<u32> = order.into_iter().map(|ordered| ordered.group).collect();
        let fitting = |sum| i64::try_from(sum).map_err(|_| overflow(sum));
        (0..order.len().div_ceil(BATCH_ROWS)).map(move |at| {
            let end = order.len().min((at + 1) * BATCH_ROWS);
            self.rows(&order[at * BATCH_ROWS..end], fitting)
        })
    }

    /// The groups as rows in any order, to be folded further: a sum that does not fit is spread over several rows.
    pub(super) fn into_parts(mut self) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        let mut groups: Vec<u32> = (0..u32::try_from(self.len()).expect("there was room")).collect();
        let mut start = 0;
        std::iter::from_fn(move || {
            if start == groups.len() {
                groups.retain(|group| {
                    let mut left = false;
                    for values in &mut self.values {
                        left |= values.pass(*group);
                    }
                    left
                });
                start = 0;
            }
            let end = groups.len().min(start + BATCH_ROWS);
            let part = start..end;
            start = end;
            (!part.is_empty()).then(|| self.rows(&groups[part], |sum| Ok(in_range(sum))))
        })
    }

    fn rows(&self, groups: &[u32], number: impl Fn(i128) -> Result<i64>) -> Result<RecordBatch> {
        let mut keys: Vec<_> = (0..self.key_columns).map(|_| TextColumn::with_capacity(groups.len())).collect();
        for block in groups.chunks(BLOCK_ROWS) {
            self.touch_keys(block.iter().map(|group| self.starts[*group as usize] as usize));
            for group in block {
                keys.iter_mut().zip(self.key(*group)).for_each(|(column, text)| column.push(text));
            }
        }
        let mut columns = keys.into_iter().map(TextColumn::finish).collect::<Result<Vec<ArrayRef>>>()?;
        for (values, field) in self.values.iter().zip(&self.schema.fields()[self.key_columns..]) {
            columns.push(values.column(groups, field.data_type(), &number)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Values {
    fn grow(&mut self, groups: usize) {
        self.folded.resize(groups, NOTHING);
    }

    fn fold(&mut self, groups: &[u32], numbers: &[i64], nulls: Option<&NullBuffer>) {
        match self.aggregate {
            Aggregate::Sum => self.fold_with(groups, numbers, nulls, |sum, number| sum + number),
            Aggregate::Min => self.fold_with(groups, numbers, nulls, Ord::min),
            Aggregate::Max => self.fold_with(groups, numbers, nulls, Ord::max),
        }
    }

    #[inline]
    fn fold_with(
        &mut self,
        groups: &[u32],
        numbers: &[i64],
        nulls: Option<&NullBuffer>,
        fold: impl Fn(i128, i128) -> i128,
    ) {
        for (row, (group, number)) in groups.iter().zip(numbers).enumerate() {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                let folded = &mut self.folded[*group as usize];
                let number = i128::from(*number);
                *folded = if *folded == NOTHING { number } else { fold(*folded, number) };
            }
        }
    }

    /// Takes off what of a group's value fits a row, and tells whether anything is left: only of a sum.
    fn pass(&mut self, group: u32) -> bool {
        let folded = &mut self.folded[group as usize];
        let left = match self.aggregate {
            Aggregate::Sum if *folded != NOTHING => *folded - i128::from(in_range(*folded)),
            _ => 0,
        };
        *folded = if left == 0 { NOTHING } else { left };
        left != 0
    }

    fn column(&self, groups: &[u32], data_type: &DataType, number: &impl Fn(i128) -> Result<i64>) -> Result<ArrayRef> {
        let (mut numbers, mut present) = (Vec::with_capacity(groups.len()), NullBufferBuilder::new(groups.len()));
        for group in groups {
            let folded = self.folded[*group as usize];
            present.append(folded != NOTHING);
            numbers.push(if folded == NOTHING { 0 } else { number(folded)? });
        }
        let (numbers, present) = (ScalarBuffer::from(numbers), present.finish());
        Ok(match data_type {
            DataType::Int64 => Arc::new(Int64Array::new(numbers, present)),
            _ => Arc::new(TimestampMillisecondArray::new(numbers, present).with_data_type(data_type.clone())),
        })
    }
}

/// The number nearest to a sum.
fn in_range(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

/// A key's column as it is stored, and what stands behind it.
#[inline]
fn split(key: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let (length, rest) = key.split_first_chunk().expect("each column has a length");
    match u32::from_le_bytes(*length) {
        0 => (None, rest),
        length => {
            let (text, rest) = rest.split_at(length as usize - 1);
            (Some(text), rest)
        }
    }
}

/// How many bytes all of these begin with alike.
fn shared_beginning<'a>(mut texts: impl Iterator<Item = &'a [u8]>) -> usize {
    let first = texts.next().unwrap_or_default();
    texts.fold(first.len(), |shared, text| shared_prefix(&first[..shared], text))
}

/// Whether two texts are the same; most are short, and a call to compare them would cost more than the rest.
#[inline(always)]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    fn ends<const N: usize>(text: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
        text.first_chunk().zip(text.last_chunk())
    }
    one.len() == other.len()
        && match one.len() {
            0..4 => one.iter().eq(other),
            4..8 => ends::<4>(one) == ends::<4>(other),
            8..=16 => ends::<8>(one) == ends::<8>(other),
            _ => one == other,
        }
}

#[inline]
fn value(column: &StringViewArray, row: usize) -> Option<&[u8]> {
    column.is_valid(row).then(|| column.value(row).as_bytes())
}
