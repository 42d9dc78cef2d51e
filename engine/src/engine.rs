//! What an engine promises.

use std::fmt;

use datafusion::arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::prelude::DataFrame;

use crate::fold::fold;
use crate::{Aggregate, Keys, OnlineLayout, OutputSchema, Ratio};

/// A transformation that many features share: last action time, count, segment membership, rollup.
///
/// An engine says how one event looks as the output of a chunk that holds only this event ([`lift`](Engine::lift)),
/// and how outputs with the same row key become one ([`aggregate`](Engine::aggregate)). Transforming a chunk and
/// merging chunks are then the same fold, written once.
///
/// **Invariant:** `merge(transform(a) ∪ transform(b)) = transform(a ∪ b)` for every split of a chunk's events; float sums
/// are rounded once for each output, and then once more.
pub trait Engine: Send + Sync + fmt::Debug {
    /// The engine's name as the configuration and the footer write it.
    fn name(&self) -> &'static str;

    /// The keys, entity first.
    fn keys(&self) -> &Keys;

    /// The columns that `preprocess` must yield; any other column is an error unless the engine takes measures.
    fn input(&self) -> Vec<InputColumn>;

    /// Whether every other column of the input is a measure (int or float).
    fn takes_measures(&self) -> bool {
        false
    }

    /// Whether a row without an entity is a value like any other (offline), so that totals add up.
    fn keeps_null_entity(&self) -> bool {
        false
    }

    /// Derives the output from the checked input: keys and item are text, numbers Int64 or Float64, the time is
    /// TIMESTAMP(ms, UTC).
    fn output(&self, input: &Schema) -> Result<OutputSchema, SchemaMismatch>;

    /// Turns each row of the checked input into the output of a chunk that holds this row alone. The input has its keys
    /// as text, empty keys null, one item a row, and rows without an entity gone (but for a rollup); its rows come in
    /// no particular order.
    fn lift(&self, input: DataFrame) -> Result<DataFrame>;

    /// How the values of an output column become one.
    fn aggregate(&self, column: &str) -> Aggregate;

    /// The columns that a row is known by: the keys, and for a membership the item too.
    fn row_key(&self) -> Vec<String> {
        self.keys().iter().map(ToOwned::to_owned).collect()
    }

    /// Merges the outputs of any number of chunks, in any order, into one; same columns as the output.
    fn merge(&self, outputs: DataFrame) -> Result<DataFrame> {
        fold(outputs, &self.row_key(), |column| self.aggregate(column))
    }

    /// How its rows live in the online store.
    fn online(&self) -> OnlineLayout;

    /// Derived columns that only make sense on merged values.
    fn ratios(&self) -> &[Ratio] {
        &[]
    }
}

/// A column that an engine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputColumn {
    /// Its name.
    pub name: String,
    /// What it may hold.
    pub kind: InputKind,
    /// Whether it may be left out.
    pub optional: bool,
}

impl InputColumn {
    /// A column that must be there.
    pub fn required(name: impl Into<String>, kind: InputKind) -> Self {
        Self { name: name.into(), kind, optional: false }
    }

    /// A column that may be left out.
    pub fn optional(name: impl Into<String>, kind: InputKind) -> Self {
        Self { name: name.into(), kind, optional: true }
    }
}

/// What an input column may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A key: text, or int or bool which are cast to text.
    Key,
    /// A membership's item: text or a list of text.
    Item,
    /// A time: TIMESTAMP of any unit, or a date; cast to TIMESTAMP(ms, UTC).
    Timestamp,
    /// Int or float; cast to Int64 or Float64.
    Number,
}

impl fmt::Display for InputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "text, int or bool",
            Self::Item => "text or a list of text",
            Self::Timestamp => "timestamp",
            Self::Number => "int or float",
        })
    }
}

/// A feature whose `preprocess` does not yield what its engine asks for; shows both schemas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: the engine `{engine}` asks for ({wanted}), and the feature yields ({found})")]
pub struct SchemaMismatch {
    /// The engine's name.
    pub engine: &'static str,
    /// What does not fit.
    pub reason: String,
    /// The engine's input schema.
    pub wanted: String,
    /// What `preprocess` yields.
    pub found: String,
}

impl SchemaMismatch {
    /// Says that `found` is not what `engine` asks for, because of `reason`.
    pub fn new(engine: &dyn Engine, reason: impl Into<String>, found: &Schema) -> Self {
        let wanted = engine.input().into_iter().map(|column| {
            let optional = if column.optional { ", optional" } else { "" };
            format!("{} {}{optional}", column.name, column.kind)
        });
        let measures = engine.takes_measures().then(|| "any measures int or float".to_owned());
        let found = found.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
        Self {
            engine: engine.name(),
            reason: reason.into(),
            wanted: wanted.chain(measures).collect::<Vec<_>>().join(", "),
            found: found.collect::<Vec<_>>().join(", "),
        }
    }
}
