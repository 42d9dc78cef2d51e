//! What a feature's rows look like, offline and online: the description that the stores work from.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use neartime_model::{ChunkWidth, FeatureName, FeatureVersion, OutputName, SourceName, Span};

/// How the values of one column merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Sum; nulls ignored, all-null is null, integer overflow an error, floats summed exactly and rounded once.
    Sum,
    /// Smallest.
    Min,
    /// Largest.
    Max,
}

/// What a column of the output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first key: what lookups ask for. Null only in a rollup.
    Entity,
    /// Another key; null offline, `''` online.
    Key,
    /// The item of a membership; never null.
    Item,
    /// A value, and how it merges.
    Value(Aggregate),
}

/// One output column. Keys and items are Utf8; values Int64, Float64, or Timestamp(ms, UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// Its name.
    pub name: OutputName,
    /// Its Arrow type.
    pub data_type: DataType,
    /// What it is for.
    pub role: Role,
}

/// The columns of a feature's rows: entity, other keys, item, values, in this order. There is one row for each
/// combination of entity, keys and item, and rows are sorted by them, nulls first, text by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSchema {
    columns: Vec<OutputColumn>,
}

impl OutputSchema {
    /// Takes columns that are already in order.
    pub fn new(columns: Vec<OutputColumn>) -> Self {
        Self { columns }
    }

    /// All columns in order.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// The columns of the row key: entity, other keys, item.
    pub fn row_key(&self) -> impl Iterator<Item = &OutputColumn> {
        self.columns.iter().filter(|column| !matches!(column.role, Role::Value(_)))
    }

    /// The columns that are not part of the row key.
    pub fn values(&self) -> impl Iterator<Item = &OutputColumn> {
        self.columns.iter().filter(|column| matches!(column.role, Role::Value(_)))
    }

    /// The first key's name.
    pub fn entity(&self) -> &OutputName {
        &self.columns.first().expect("an output has at least one key").name
    }

    /// The Arrow schema, the same in the Parquet file. Only keys and values may be null.
    pub fn arrow(&self) -> SchemaRef {
        let field = |column: &OutputColumn| {
            Field::new(column.name.as_str(), column.data_type.clone(), column.role != Role::Item)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }
}

/// How the rows of an engine live online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineLayout {
    /// One row for each key, the latest wins: written at the event time, never deleted by a re-run.
    Latest,
    /// One row for each key, chunk and path: written at the fence, deleted when the key vanishes, folded at read.
    PerChunk,
}

/// A derived column, computed on merged values only: DOUBLE, null on a zero denominator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// Its name.
    pub name: OutputName,
    /// A SQL expression over the value columns.
    pub expression: String,
}

/// Everything that a store needs to know of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureTable {
    /// The feature's name.
    pub name: FeatureName,
    /// Its version.
    pub version: FeatureVersion,
    /// Its engine's name.
    pub engine: &'static str,
    /// The source that it reads.
    pub source: SourceName,
    /// The width of that source's chunks.
    pub width: ChunkWidth,
    /// Its columns.
    pub output: OutputSchema,
    /// How its rows live online.
    pub online: OnlineLayout,
    /// How long they stay there after the end of their chunk.
    pub retention: Option<Span>,
    /// Derived columns.
    pub ratios: Vec<Ratio>,
}
