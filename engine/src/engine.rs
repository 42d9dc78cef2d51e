//! What an engine promises.

use std::fmt;

use datafusion::arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::prelude::DataFrame;

use crate::{OnlineLayout, OutputSchema, Ratio};

/// A transformation that many features share: last action time, count, segment membership, rollup.
///
/// **Invariant:** `merge(transform(a) ∪ transform(b)) = transform(a ∪ b)` for every split of a chunk's events.
pub trait Engine: Send + Sync + fmt::Debug {
    /// The engine's name as the configuration and the footer write it.
    fn name(&self) -> &'static str;

    /// The columns that `preprocess` must yield, in order; any other column is an error unless the engine takes
    /// measures.
    fn input(&self) -> Vec<InputColumn>;

    /// Checks the schema that `preprocess` yields and derives the output from it (measures keep their types).
    fn output(&self, input: &Schema) -> Result<OutputSchema, SchemaMismatch>;

    /// Groups and aggregates one chunk. `input` has the checked schema with its keys as text, empty keys null and
    /// rows without an entity gone (but for a rollup).
    fn transform(&self, input: DataFrame) -> Result<DataFrame>;

    /// Merges the outputs of any number of chunks, in any order, into one; same columns as the output.
    fn merge(&self, outputs: DataFrame) -> Result<DataFrame>;

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
}

/// What an input column may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A key: text, or int or bool which are cast to text.
    Key,
    /// A membership's item: text or a list of text.
    Item,
    /// The event time: TIMESTAMP(ms, UTC).
    Timestamp,
    /// Int or float.
    Number,
}

/// A feature whose `preprocess` does not yield what its engine asks for; shows both schemas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: the engine `{engine}` asks for {wanted}, and preprocess yields {found}")]
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
