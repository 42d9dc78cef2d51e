//! A column of texts in the making, as views.
//!
//! Arrow's own builder puts a short view together byte by byte and then loads it whole, for which the processor has to
//! wait. Here it is put together in a register: that was a third of what a value costs.

use datafusion::arrow::array::{NullBufferBuilder, StringViewArray};
use datafusion::arrow::buffer::Buffer;

/// The longest text that stands within its view.
const INLINE_BYTES: usize = 12;
/// A block of longer texts is closed when it has grown to this, well before an offset in it would need more than 32 bits.
const BLOCK_BYTES: usize = 64 << 20;

/// Collects the texts of one column.
#[derive(Debug)]
pub(crate) struct Texts {
    /// As Arrow has them: the length lowest; then the text itself, or its first four bytes, its block and its offset.
    views: Vec<u128>,
    /// Closed blocks of longer texts, and the one being filled.
    closed: Vec<Buffer>,
    block: Vec<u8>,
    present: NullBufferBuilder,
}

impl Texts {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let (views, present) = (Vec::with_capacity(rows), NullBufferBuilder::new(rows));
        Self { views, closed: Vec::new(), block: Vec::new(), present }
    }

    /// The same text in every row, stored once.
    pub(crate) fn repeated(text: &str, rows: usize) -> StringViewArray {
        let mut texts = Self::with_capacity(1);
        texts.append_option(Some(text));
        texts.views = vec![texts.views[0]; rows];
        texts.present.append_n_non_nulls(rows - 1);
        texts.finish()
    }

    #[inline]
    pub(crate) fn append_option(&mut self, text: Option<&str>) {
        let view = match text {
            Some(text) => match short_view(text.as_bytes()) {
                Some(view) => view,
                None => self.long_view(text.as_bytes()),
            },
            None => 0,
        };
        self.views.push(view);
        self.present.append(text.is_some());
    }

    /// The view of a text of more than [`INLINE_BYTES`], whose bytes are kept here.
    #[inline]
    fn long_view(&mut self, text: &[u8]) -> u128 {
        if self.block.len() >= BLOCK_BYTES {
            self.closed.push(std::mem::take(&mut self.block).into());
        }
        let (number, offset) = (self.closed.len() as u128, self.block.len() as u128);
        self.block.extend_from_slice(text);
        offset << 96 | number << 64 | u128::from(word(text)) << 32 | text.len() as u128
    }

    /// The column, after which the next one begins, with room for as much.
    pub(crate) fn finish(&mut self) -> StringViewArray {
        let next = Self { block: Vec::with_capacity(self.block.len()), ..Self::with_capacity(self.views.len()) };
        let Self { views, mut closed, block, mut present } = std::mem::replace(self, next);
        if !block.is_empty() {
            closed.push(block.into());
        }
        // SAFETY: each view is that of a `str`: it says the length, and has the text or tells where it was put.
        unsafe { StringViewArray::new_unchecked(views.into(), closed, present.finish()) }
    }
}

/// The view of a text that fits in it.
#[inline(always)]
fn short_view(text: &[u8]) -> Option<u128> {
    // The first and the last bytes overlap: where they do, they are the same.
    let (length, bits) = (text.len(), |bytes: usize| 8 * bytes as u32);
    let inside = match length {
        0 => 0,
        1..4 => {
            let at = |at: usize| u128::from(text[at]) << bits(at);
            at(0) | at(length / 2) | at(length - 1)
        }
        4..8 => u128::from(word(text)) | u128::from(last_word(text)) << bits(length - 4),
        8..=INLINE_BYTES => {
            let (first, last) = (text.first_chunk()?, text.last_chunk()?);
            u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << bits(length - 8)
        }
        _ => return None,
    };
    Some(inside << 32 | length as u128)
}

/// The first four of at least as many bytes.
#[inline(always)]
fn word(text: &[u8]) -> u32 {
    u32::from_le_bytes(*text.first_chunk().expect("four bytes at least"))
}

#[inline(always)]
fn last_word(text: &[u8]) -> u32 {
    u32::from_le_bytes(*text.last_chunk().expect("four bytes at least"))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, StringViewBuilder};
    use proptest::prelude::*;

    use super::*;

    fn both(columns: &[Vec<Option<String>>]) {
        let mut texts = Texts::with_capacity(3);
        for column in columns {
            let mut builder = StringViewBuilder::new();
            for text in column {
                texts.append_option(text.as_deref());
                builder.append_option(text.as_deref());
            }
            let (ours, theirs) = (texts.finish(), builder.finish());
            // All that the constructor would have looked at.
            ours.to_data().validate_full().unwrap();
            assert_eq!(ours, theirs);
        }
    }

    proptest! {
        #[test]
        fn columns_are_those_of_arrows_builder(
            columns in prop::collection::vec(prop::collection::vec(prop::option::of("[a-zü]{0,15}"), 0..40), 1..4),
        ) {
            both(&columns);
        }
    }

    #[test]
    fn every_length_up_to_two_views_is_right() {
        let text = |length: usize| Some("abcdefghijklmnopqrstuvwxyz0123456789"[..length].to_owned());
        both(&[(0..=36).map(text).collect()]);
    }

    #[test]
    fn a_repeated_text_is_that_of_every_row() {
        for text in ["", "olx", "a text that no view has room for"] {
            let repeated = Texts::repeated(text, 3);
            repeated.to_data().validate_full().unwrap();
            assert_eq!(repeated, StringViewArray::from(vec![text; 3]));
        }
    }

    #[test]
    fn texts_of_many_blocks_are_whole() {
        let text = |row: u8| Some(char::from(b'a' + row).to_string().repeat(BLOCK_BYTES / 3));
        both(&[(0..7).map(text).collect()]);
    }
}
