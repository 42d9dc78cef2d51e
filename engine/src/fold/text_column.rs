//! A column of texts, built from bytes that were texts before.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, NullBufferBuilder, StringArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::error::Result;

/// The usual length of a key, for room.
const USUAL_BYTES: usize = 16;

/// A column of texts in the making. That they are UTF-8 is looked at once, in the end.
pub(super) struct TextColumn {
    ends: Vec<i32>,
    texts: Vec<u8>,
    present: NullBufferBuilder,
}

impl TextColumn {
    pub(super) fn with_capacity(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { ends, texts: Vec::with_capacity(rows * USUAL_BYTES), present: NullBufferBuilder::new(rows) }
    }

    #[inline]
    pub(super) fn push(&mut self, text: Option<&[u8]>) {
        self.texts.extend_from_slice(text.unwrap_or_default());
        self.ends.push(i32::try_from(self.texts.len()).expect("the keys of a batch come to less than 2 GB"));
        self.present.append(text.is_some());
    }

    pub(super) fn finish(mut self) -> Result<ArrayRef> {
        let ends = OffsetBuffer::new(self.ends.into());
        Ok(Arc::new(StringArray::try_new(ends, self.texts.into(), self.present.finish())?))
    }
}
