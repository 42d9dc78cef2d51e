//! Which items (segments, sites) each key was seen in, and when.

use datafusion::arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::prelude::{DataFrame, ident};

use super::{instant_type, key_columns, output_of};
use crate::{Aggregate, Engine, InputColumn, InputKind, Keys, OnlineLayout, OutputSchema, SchemaMismatch};

const ITEM: &str = "item";
const MIN: &str = "min_ts";
const MAX: &str = "max_ts";

/// The first and the last time that each key was seen in each item.
///
/// Input: keys, `item` (text, or a list of text: an event in several items at once; null and empty items give no row,
/// repeats one), `timestamp`. Output: keys, `item`, `min_ts`, `max_ts` (TIMESTAMP(ms, UTC)). Merge: min, max. A row
/// without a timestamp gives no output.
#[derive(Clone, Debug, Default)]
pub struct SegmentMembership {
    keys: Keys,
}

impl SegmentMembership {
    /// The engine with these keys, entity first; `SegmentMembership::default()` has `id, country, brand`.
    pub fn by(keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { keys: Keys::new(keys) }
    }
}

impl Engine for SegmentMembership {
    fn name(&self) -> &'static str {
        "segment_membership"
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn row_key(&self) -> Vec<String> {
        self.keys.iter().chain([ITEM]).map(ToOwned::to_owned).collect()
    }

    fn input(&self) -> Vec<InputColumn> {
        let mut columns = key_columns(self);
        columns.push(InputColumn::required(ITEM, InputKind::Item));
        columns.push(InputColumn::required("timestamp", InputKind::Timestamp));
        columns
    }

    fn output(&self, input: &Schema) -> Result<OutputSchema, SchemaMismatch> {
        output_of(self, input, [(MIN.to_owned(), instant_type()), (MAX.to_owned(), instant_type())])
    }

    fn lift(&self, input: DataFrame) -> Result<DataFrame> {
        let mut columns: Vec<_> = self.keys.iter().chain([ITEM]).map(ident).collect();
        columns.push(ident("timestamp").alias(MIN));
        columns.push(ident("timestamp").alias(MAX));
        input.select(columns)
    }

    fn aggregate(&self, column: &str) -> Aggregate {
        if column == MIN { Aggregate::Min } else { Aggregate::Max }
    }

    fn online(&self) -> OnlineLayout {
        OnlineLayout::PerChunk
    }
}
