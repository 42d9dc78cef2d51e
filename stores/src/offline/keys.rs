//! Streams of sorted row keys, and the merges that tell which of them vanished.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray, StringBuilder};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::encode::{text_columns, value};
use crate::StoreError;

/// Keys of one batch that a merge gives.
const BATCH_KEYS: usize = 8 * 1024;

/// Batches of row keys: columns of text, rising strictly over the whole stream, nulls first.
pub(crate) type KeyStream = BoxStream<'static, Result<RecordBatch, StoreError>>;

/// No keys.
pub(crate) fn none() -> KeyStream {
    stream::empty().boxed()
}

/// The keys of `left` that `right` has not.
pub(crate) fn difference(schema: SchemaRef, left: KeyStream, right: KeyStream) -> KeyStream {
    merge(schema, left, right, |found| found == Ordering::Less)
}

/// The keys that `left` or `right` has.
pub(crate) fn union(schema: SchemaRef, left: KeyStream, right: KeyStream) -> KeyStream {
    merge(schema, left, right, |_| true)
}

/// Walks both streams at once and keeps the keys that `keep` wants: `Less` stands on the left only, `Greater` on the
/// right only, `Equal` in both.
fn merge(schema: SchemaRef, left: KeyStream, right: KeyStream, keep: fn(Ordering) -> bool) -> KeyStream {
    let walk = Walk { left: KeyCursor::new(left), right: KeyCursor::new(right), schema, keep };
    stream::try_unfold(walk, async |mut walk| Ok(walk.next_batch().await?.map(|batch| (batch, walk)))).boxed()
}

struct Walk {
    left: KeyCursor,
    right: KeyCursor,
    schema: SchemaRef,
    keep: fn(Ordering) -> bool,
}

impl Walk {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        let mut columns: Vec<StringBuilder> = self.schema.fields().iter().map(|_| StringBuilder::new()).collect();
        let mut kept = 0;
        while kept < BATCH_KEYS {
            self.left.fill().await?;
            self.right.fill().await?;
            let Some(found) = self.left.compare(&self.right) else { break };
            if (self.keep)(found) {
                let side = if found == Ordering::Greater { &self.right } else { &self.left };
                side.append_to(&mut columns);
                kept += 1;
            }
            self.left.row += usize::from(found != Ordering::Greater);
            self.right.row += usize::from(found != Ordering::Less);
        }
        if kept == 0 {
            return Ok(None);
        }
        let columns = columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map(Some)
            .map_err(|error| StoreError::failed("merging row keys", error))
    }
}

/// A place in a stream of keys.
struct KeyCursor {
    stream: KeyStream,
    columns: Vec<StringArray>,
    rows: usize,
    row: usize,
}

impl KeyCursor {
    fn new(stream: KeyStream) -> Self {
        Self { stream, columns: Vec::new(), rows: 0, row: 0 }
    }

    /// Fetches the next batch if it stands behind the last key of this one.
    async fn fill(&mut self) -> Result<(), StoreError> {
        while self.row >= self.rows {
            let Some(batch) = self.stream.try_next().await? else { return Ok(()) };
            self.columns = text_columns(&batch, batch.num_columns())?.into_iter().cloned().collect();
            (self.rows, self.row) = (batch.num_rows(), 0);
        }
        Ok(())
    }

    fn at_end(&self) -> bool {
        self.row >= self.rows
    }

    /// Compares the keys under both cursors; one at its end comes last. `None` if both are at their end.
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self.at_end(), other.at_end()) {
            (true, true) => None,
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => Some(self.cells().cmp(other.cells())),
        }
    }

    fn cells(&self) -> impl Iterator<Item = Option<&str>> {
        self.columns.iter().map(|column| value(column, self.row))
    }

    fn append_to(&self, columns: &mut [StringBuilder]) {
        for (cell, column) in self.cells().zip(columns) {
            column.append_option(cell);
        }
    }
}
