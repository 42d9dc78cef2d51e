//! The index of a file of users: where in it an id must stand, if it is there.

use std::ops::Range;

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
        }
        index.places.push(records_len);
        Ok(index)
    }

    /// Where records begin, and at the end where they end.
    pub(crate) fn places(&self) -> &[u64] {
        &self.places
    }

    /// Ranges of the file in which those of the `wanted` ids stand that are there, and which these are. Both rise.
    pub(super) fn spans_of(&self, wanted: &[&[u8]]) -> Vec<(Range<u64>, Range<usize>)> {
        let mut spans: Vec<(Range<u64>, Range<usize>)> = Vec::new();
        let mut step = 0;
        for (at, id) in wanted.iter().enumerate() {
            step = self.last_not_above(id, step);
            if self.ends.is_empty() || self.id(step) > *id {
                continue;
            }
            let range = self.places[step]..self.places[step + 1];
            match spans.last_mut() {
                Some((last, here))
                    if range.start <= last.end + SPAN_GAP_BYTES && range.end - last.start <= SPAN_BYTES =>
                {
                    last.end = range.end;
                    here.end = at + 1;
                }
                // The one record that is longer than a span may hold several that are wanted.
                Some((last, here)) if *last == range => here.end = at + 1,
                _ => spans.push((range, at..at + 1)),
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
