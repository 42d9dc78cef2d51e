//! The index of a file of users: where in it an id must stand, if it is there.

use std::ops::Range;

use super::hash::check;
use super::record::{Garbled, read_id, read_number};

/// So much of a file is passed over rather than read, to save a call.
const SPAN_GAP_BYTES: u64 = 2 << 10;
/// So much is read at a time.
const SPAN_BYTES: u64 = 256 << 10;

/// Some users of a file, and where their records begin.
#[derive(Debug, Default)]
pub(crate) struct UsersIndex {
    ids: Vec<u8>,
    /// Where each id ends.
    ends: Vec<u32>,
    /// Where each record begins; the last is where they all end.
    places: Vec<u64>,
    /// The check of the bytes from each place to the next.
    checks: Vec<u32>,
}

impl UsersIndex {
    /// Reads the form in which it is kept.
    pub(super) fn read(mut bytes: &[u8], records_len: u64) -> Result<Self, Garbled> {
        let (mut index, mut place) = (Self::default(), 0_u64);
        index.ids.reserve(bytes.len());
        while !bytes.is_empty() {
            index.ids.extend_from_slice(read_id(&mut bytes)?);
            index.ends.push(u32::try_from(index.ids.len()).map_err(|_| Garbled)?);
            place = place.checked_add(read_number(&mut bytes)?).filter(|place| *place < records_len).ok_or(Garbled)?;
            index.places.push(place);
            let (check, rest) = bytes.split_first_chunk().ok_or(Garbled)?;
            index.checks.push(u32::from_le_bytes(*check));
            bytes = rest;
        }
        index.places.push(records_len);
        Ok(index)
    }

    /// How many steps there are: the records from one place to the next.
    pub(super) fn steps(&self) -> usize {
        self.checks.len()
    }

    /// The first id, if there is any.
    pub(super) fn first_id(&self) -> Option<&[u8]> {
        (self.steps() > 0).then(|| self.id(0))
    }

    /// Where the records of some steps lie.
    pub(super) fn places_of(&self, steps: Range<usize>) -> Range<u64> {
        self.places[steps.start]..self.places[steps.end]
    }

    /// The step in which a record begins.
    pub(super) fn step_of(&self, place: u64) -> Result<usize, Garbled> {
        let step = self.places.partition_point(|begin| *begin <= place).checked_sub(1);
        step.filter(|step| *step < self.steps()).ok_or(Garbled)
    }

    /// The steps from one on that take so many bytes, but at least one while any are left.
    pub(super) fn steps_from(&self, step: usize, bytes: u64) -> Range<usize> {
        let mut end = step;
        while end < self.steps() && (end == step || self.places[end + 1] - self.places[step] <= bytes) {
            end += 1;
        }
        step..end
    }

    /// Whether these bytes are what was written for some steps.
    pub(super) fn is_whole(&self, steps: Range<usize>, mut bytes: &[u8]) -> bool {
        steps.into_iter().all(|step| {
            let (one, rest) = bytes.split_at((self.places[step + 1] - self.places[step]) as usize);
            bytes = rest;
            check(one) == self.checks[step]
        })
    }

    /// Steps in which those of the `wanted` ids stand that are there, and which these are. Both rise.
    pub(super) fn spans_of(&self, wanted: &[&[u8]]) -> Vec<(Range<usize>, Range<usize>)> {
        let mut spans: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let mut step = 0;
        for (at, id) in wanted.iter().enumerate() {
            step = self.last_not_above(id, step);
            if self.ends.is_empty() || self.id(step) > *id {
                continue;
            }
            let Range { start, end } = self.places_of(step..step + 1);
            match spans.last_mut() {
                Some((last, here))
                    if start <= self.places[last.end] + SPAN_GAP_BYTES
                        && end - self.places[last.start] <= SPAN_BYTES =>
                {
                    last.end = step + 1;
                    here.end = at + 1;
                }
                // The one step that is longer than a span may hold several that are wanted.
                Some((last, here)) if *last == (step..step + 1) => here.end = at + 1,
                _ => spans.push((step..step + 1, at..at + 1)),
            }
        }
        spans
    }

    /// The last step from `from` on whose id is not above one; `from` if there is none.
    fn last_not_above(&self, id: &[u8], from: usize) -> usize {
        let is_not_above = |step: usize| step < self.ends.len() && self.id(step) <= id;
        let (mut low, mut stride) = (from, 1);
        while is_not_above(low + stride) {
            low += stride;
            stride *= 2;
        }
        let mut high = (low + stride).min(self.ends.len());
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if is_not_above(middle) { low = middle } else { high = middle }
        }
        low
    }

    fn id(&self, step: usize) -> &[u8] {
        let begin = step.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[begin as usize..self.ends[step] as usize]
    }
}
