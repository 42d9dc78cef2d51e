//! When each key was last seen acting.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::error::Result;
use datafusion::prelude::{DataFrame, ident};

use super::{key_columns, output_of};
use crate::functions::epoch_seconds;
use crate::{Aggregate, Engine, InputColumn, InputKind, Keys, OnlineLayout, OutputSchema, SchemaMismatch};

const LAST_ACTION: &str = "last_action_timestamp";

/// The last action time of each key.
///
/// Input: keys, `timestamp`. Output: keys, `last_action_timestamp` (Int64, seconds since the epoch, floored, also
/// before 1970). Merge: the largest. Online: one row for each key; the latest event wins whatever the order of writes.
/// A row without a timestamp gives no output.
#[derive(Clone, Debug, Default)]
pub struct LastActionTime {
    keys: Keys,
}

impl LastActionTime {
    /// The engine with these keys, entity first; `LastActionTime::default()` has `id, country, brand`.
    pub fn by(keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { keys: Keys::new(keys) }
    }
}

impl Engine for LastActionTime {
    fn name(&self) -> &'static str {
        "last_action_time"
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn input(&self) -> Vec<InputColumn> {
        let mut columns = key_columns(self);
        columns.push(InputColumn::required("timestamp", InputKind::Timestamp));
        columns
    }

    fn output(&self, input: &Schema) -> Result<OutputSchema, SchemaMismatch> {
        output_of(self, input, [(LAST_ACTION.to_owned(), DataType::Int64)])
    }

    fn lift(&self, input: DataFrame) -> Result<DataFrame> {
        let mut columns: Vec<_> = self.keys.iter().map(ident).collect();
        columns.push(epoch_seconds(ident("timestamp")).alias(LAST_ACTION));
        input.select(columns)
    }

    fn aggregate(&self, _column: &str) -> Aggregate {
        Aggregate::Max
    }

    fn online(&self) -> OnlineLayout {
        OnlineLayout::Latest
    }
}
