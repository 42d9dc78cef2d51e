//! The four engines, a file each.

mod count;
mod last_action_time;
mod rollup;
mod segment_membership;

pub use count::Count;
pub use last_action_time::LastActionTime;
pub use rollup::Rollup;
pub use segment_membership::SegmentMembership;

use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use neartime_model::OutputName;

use crate::{Engine, InputColumn, InputKind, OutputColumn, OutputSchema, Role, SchemaMismatch};

/// The type of an instant in every output.
pub(crate) fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// The keys as input columns.
fn key_columns(engine: &dyn Engine) -> Vec<InputColumn> {
    engine.keys().iter().map(|key| InputColumn::required(key, InputKind::Key)).collect()
}

/// The output of `engine`: its keys, its item if it has one, and `values`.
fn output_of(
    engine: &dyn Engine,
    input: &Schema,
    values: impl IntoIterator<Item = (String, DataType)>,
) -> Result<OutputSchema, SchemaMismatch> {
    let keys = engine.keys().len();
    let role = |position| match position {
        0 => Role::Entity,
        position if position < keys => Role::Key,
        _ => Role::Item,
    };
    let row_key = engine.row_key().into_iter().enumerate().map(|(at, name)| (name, DataType::Utf8, role(at)));
    let values = values.into_iter().map(|(name, data_type)| {
        let role = Role::Value(engine.aggregate(&name));
        (name, data_type, role)
    });
    let mut columns: Vec<OutputColumn> = Vec::new();
    for (name, data_type, role) in row_key.chain(values) {
        let name = OutputName::new(name).map_err(|error| SchemaMismatch::new(engine, error.to_string(), input))?;
        if columns.iter().any(|column| column.name == name) {
            return Err(SchemaMismatch::new(engine, format!("two columns are named `{name}`"), input));
        }
        columns.push(OutputColumn { name, data_type, role });
    }
    Ok(OutputSchema::new(columns))
}

/// The type that the checked input gives to a column.
fn type_of(input: &Schema, column: &str) -> Option<DataType> {
    input.field_with_name(column).ok().map(|field| field.data_type().clone())
}

#[cfg(test)]
mod tests;
