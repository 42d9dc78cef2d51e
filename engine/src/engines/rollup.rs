//! Sums of measures by key, for facts that arrive already measured (deliveries, spend).

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::error::Result;
use datafusion::prelude::{DataFrame, ident, lit};
use neartime_model::OutputName;

use super::{key_columns, output_of};
use crate::{Aggregate, Engine, InputColumn, Keys, OnlineLayout, OutputSchema, Ratio, SchemaMismatch};

const ROWS: &str = "row_count";

/// The sums (or smallest, or largest values) of measures by key.
///
/// Input: keys, and any other columns as measures (int or float). Output: keys, the measures (Int64 or Float64) in the
/// input's order, `row_count` (Int64). Merge: each measure's own aggregate, and the sum of the row counts. A row
/// without an entity counts like any other. Ratios are computed on merged values only, never stored: an average of
/// averages is no average.
#[derive(Clone, Debug)]
pub struct Rollup {
    keys: Keys,
    aggregates: BTreeMap<String, Aggregate>,
    ratios: Vec<Ratio>,
}

impl Rollup {
    /// The engine with these keys, entity first, and every measure summed.
    pub fn by(keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { keys: Keys::new(keys), aggregates: BTreeMap::new(), ratios: Vec::new() }
    }

    /// Gives a measure an aggregate of its own.
    #[must_use]
    pub fn aggregated(mut self, measure: impl Into<String>, aggregate: Aggregate) -> Self {
        self.aggregates.insert(measure.into(), aggregate);
        self
    }

    /// Adds a ratio: a name, and a SQL expression over the measures and `row_count`. Panics on a name that no output
    /// column can have; the expression is checked when the feature is compiled.
    #[must_use]
    pub fn ratio(mut self, name: &str, expression: &str) -> Self {
        let name =
            OutputName::new(name).expect("the author of a feature gives its ratio a name that a column can have");
        self.ratios.push(Ratio { name, expression: expression.to_owned() });
        self
    }

    fn measures<'a>(&'a self, input: &'a Schema) -> impl Iterator<Item = (String, DataType)> + 'a {
        let fields = input.fields().iter().filter(|field| self.keys.iter().all(|key| key != field.name()));
        fields.map(|field| (field.name().clone(), field.data_type().clone()))
    }
}

impl Engine for Rollup {
    fn name(&self) -> &'static str {
        "rollup"
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn input(&self) -> Vec<InputColumn> {
        key_columns(self)
    }

    fn takes_measures(&self) -> bool {
        true
    }

    fn keeps_null_entity(&self) -> bool {
        true
    }

    fn output(&self, input: &Schema) -> Result<OutputSchema, SchemaMismatch> {
        let values: Vec<_> = self.measures(input).chain([(ROWS.to_owned(), DataType::Int64)]).collect();
        if let Some(unknown) = self.aggregates.keys().find(|name| values.iter().all(|(value, _)| value != *name)) {
            return Err(SchemaMismatch::new(self, format!("an aggregate is given for `{unknown}`, no measure"), input));
        }
        if self.aggregates.contains_key(ROWS) {
            return Err(SchemaMismatch::new(self, format!("`{ROWS}` is the engine's own, always a sum"), input));
        }
        output_of(self, input, values)
    }

    fn lift(&self, input: DataFrame) -> Result<DataFrame> {
        let keys = self.keys.iter().map(ident);
        let measures = self.measures(input.schema().as_arrow()).map(|(name, _)| ident(name));
        let columns: Vec<_> = keys.chain(measures).chain([lit(1_i64).alias(ROWS)]).collect();
        input.select(columns)
    }

    fn aggregate(&self, column: &str) -> Aggregate {
        self.aggregates.get(column).copied().unwrap_or(Aggregate::Sum)
    }

    fn online(&self) -> OnlineLayout {
        OnlineLayout::PerChunk
    }

    fn ratios(&self) -> &[Ratio] {
        &self.ratios
    }
}
