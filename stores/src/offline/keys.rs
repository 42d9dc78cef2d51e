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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;

    type Key = (Option<String>, Option<String>);

    fn schema() -> SchemaRef {
        let text = |name| Field::new(name, DataType::Utf8, true);
        Arc::new(Schema::new(vec![text("id"), text("country")]))
    }

    fn as_stream(keys: &BTreeSet<Key>, cut: usize) -> KeyStream {
        let keys: Vec<Key> = keys.iter().cloned().collect();
        let batch = |keys: &[Key]| {
            let ids: StringArray = keys.iter().map(|key| key.0.as_deref()).collect();
            let countries: StringArray = keys.iter().map(|key| key.1.as_deref()).collect();
            RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(countries)]).unwrap()
        };
        let batches: Vec<_> = keys.chunks(cut).map(|keys| Ok(batch(keys))).collect();
        stream::iter(batches).boxed()
    }

    async fn collected(keys: KeyStream) -> Vec<Key> {
        let mut found = Vec::new();
        for batch in keys.try_collect::<Vec<_>>().await.unwrap() {
            let columns = text_columns(&batch, 2).unwrap();
            let cell = |column: usize, row| value(columns[column], row).map(str::to_owned);
            found.extend((0..batch.num_rows()).map(|row| (cell(0, row), cell(1, row))));
        }
        found
    }

    fn keys() -> impl Strategy<Value = BTreeSet<Key>> {
        // Text is compared by its bytes: some of it beyond ASCII, and null before all.
        let cell =
            || prop::option::of(prop::sample::select(vec!["", "a", "aa", "b", "\u{e9}", "\u{10000}", "\u{ffff}"]));
        let key = (cell(), cell()).prop_map(|(id, country)| (id.map(str::to_owned), country.map(str::to_owned)));
        prop::collection::btree_set(key, 0..30)
    }

    proptest! {
        #[test]
        fn merges_agree_with_sets(left in keys(), right in keys(), cut in 1_usize..10) {
            let merged = |merge: fn(SchemaRef, KeyStream, KeyStream) -> KeyStream| {
                let keys = merge(schema(), as_stream(&left, cut), as_stream(&right, 11 - cut));
                futures::executor::block_on(collected(keys))
            };
            prop_assert_eq!(merged(difference), left.difference(&right).cloned().collect::<Vec<_>>());
            prop_assert_eq!(merged(union), left.union(&right).cloned().collect::<Vec<_>>());
        }
    }
}
