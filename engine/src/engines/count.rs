//! How often each key acted.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::error::Result;
use datafusion::prelude::{DataFrame, ident, lit};

use super::{key_columns, output_of, type_of};
use crate::{Aggregate, Engine, InputColumn, InputKind, Keys, OnlineLayout, OutputSchema, SchemaMismatch};

const ACTIONS: &str = "actions_count";
const WEIGHT: &str = "weight";

/// The number of actions of each key.
///
/// Input: keys, `timestamp`, optionally `weight` (int or float), for sources that were counted beforehand. Output:
/// keys, `actions_count`: the number of rows (Int64), or the sum of the weights, Int64 for ints and Float64 for floats;
/// null weights are ignored, and null is the sum of nothing else. Merge: the sum.
#[derive(Clone, Debug, Default)]
pub struct Count {
    keys: Keys,
}

impl Count {
    /// The engine with these keys, entity first; `Count::default()` has `id, country, brand`.
    pub fn by(keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { keys: Keys::new(keys) }
    }
}

impl Engine for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn input(&self) -> Vec<InputColumn> {
        let mut columns = key_columns(self);
        columns.push(InputColumn::required("timestamp", InputKind::Timestamp));
        columns.push(InputColumn::optional(WEIGHT, InputKind::Number));
        columns
    }

    fn output(&self, input: &Schema) -> Result<OutputSchema, SchemaMismatch> {
        let counted = type_of(input, WEIGHT).unwrap_or(DataType::Int64);
        output_of(self, input, [(ACTIONS.to_owned(), counted)])
    }

    fn lift(&self, input: DataFrame) -> Result<DataFrame> {
        let weighted = input.schema().has_column_with_unqualified_name(WEIGHT);
        let weight = if weighted { ident(WEIGHT) } else { lit(1_i64) };
        let mut columns: Vec<_> = self.keys.iter().map(ident).collect();
        columns.push(weight.alias(ACTIONS));
        input.select(columns)
    }

    fn aggregate(&self, _column: &str) -> Aggregate {
        Aggregate::Sum
    }

    fn online(&self) -> OnlineLayout {
        OnlineLayout::PerChunk
    }
}
