//! Ratios: derived columns that only make sense on merged values.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::physical_expr::PhysicalExpr;
use neartime_model::OutputName;

use crate::compile::analyse;
use crate::events::PlannedEvents;
use crate::expression::{BadExpression, parse};
use crate::planner::{read, state};
use crate::{OutputSchema, Ratio};

/// The ratios of a feature, ready to be computed on merged rows.
#[derive(Clone, Debug)]
pub struct Ratios {
    /// The numbers that the expressions see, all DOUBLE.
    inputs: SchemaRef,
    columns: Vec<(OutputName, Arc<dyn PhysicalExpr>)>,
}

/// A ratio that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRatio {
    /// Its name is that of a column or of another ratio.
    #[error("`ratios.{0}`: a column of that name is there already")]
    Taken(OutputName),
    /// Its expression cannot be evaluated.
    #[error("`ratios.{name}` cannot be computed")]
    Expression {
        /// Its name.
        name: OutputName,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Ratios {
    /// Plans `ratios` over the values of `output`.
    pub fn new(output: &OutputSchema, ratios: &[Ratio]) -> Result<Self, InvalidRatio> {
        let numbers = output.values().filter(|column| column.data_type.is_numeric());
        let fields: Vec<Field> =
            numbers.map(|column| Field::new(column.name.as_str(), DataType::Float64, true)).collect();
        let inputs = Arc::new(Schema::new(fields));
        let mut columns: Vec<(OutputName, Arc<dyn PhysicalExpr>)> = Vec::new();
        for Ratio { name, expression } in ratios {
            let taken = output.columns().iter().map(|column| &column.name).chain(columns.iter().map(|(name, _)| name));
            if taken.into_iter().any(|other| other == name) {
                return Err(InvalidRatio::Taken(name.clone()));
            }
            let planned =
                plan(expression, &inputs).map_err(|source| InvalidRatio::Expression { name: name.clone(), source })?;
            columns.push((name.clone(), planned));
        }
        Ok(Self { inputs, columns })
    }

    /// The names of the ratios.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &OutputName> {
        self.columns.iter().map(|(name, _)| name)
    }

    /// Adds the ratios to merged rows: DOUBLE columns behind the others, ints taken as doubles; null where an input is
    /// null or a denominator zero.
    pub fn append(&self, merged: &RecordBatch) -> Result<RecordBatch> {
        let input = |field: &Arc<Field>| match merged.column_by_name(field.name()) {
            Some(column) => Ok(cast(column, &DataType::Float64)?),
            None => datafusion::common::exec_err!("the merged rows have no column `{}`", field.name()),
        };
        let inputs = self.inputs.fields().iter().map(input).collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(merged.num_rows()));
        let inputs = RecordBatch::try_new_with_options(Arc::clone(&self.inputs), inputs, &options)?;
        let mut fields: Vec<Arc<Field>> = merged.schema().fields().iter().cloned().collect();
        let mut columns = merged.columns().to_vec();
        for (name, expression) in &self.columns {
            fields.push(Arc::new(Field::new(name.as_str(), DataType::Float64, true)));
            columns.push(expression.evaluate(&inputs)?.into_array(merged.num_rows())?);
        }
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }
}

fn plan(
    expression: &str,
    inputs: &SchemaRef,
) -> Result<Arc<dyn PhysicalExpr>, Box<dyn std::error::Error + Send + Sync>> {
    let schema = DFSchema::try_from(Arc::clone(inputs))?;
    let expr: Expr = parse(expression, &schema).map_err(|error: BadExpression| Box::new(error))?;
    let expr = expr.cast_to(&DataType::Float64, &schema)?.alias("ratio");
    let projected = read(PlannedEvents::new(Arc::clone(inputs)))?.select([expr])?.into_unoptimized_plan();
    let safe = analyse(projected)?;
    let Some(expr) = safe.expressions().pop() else {
        return Err(Box::new(DataFusionError::Internal("a projection has an expression".to_owned())));
    };
    let over = safe.inputs().first().map_or(&schema, |input| input.schema().as_ref()).clone();
    Ok(state().create_physical_expr(expr, &over)?)
}

#[cfg(test)]
mod tests;
