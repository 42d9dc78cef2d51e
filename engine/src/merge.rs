//! Merges rows of many chunks in memory, as lookups over a window need it.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;

use crate::compute::{sorted, stored};
use crate::planner::{physical, session};
use crate::{Engine, OutputSchema};

/// Merges outputs of any chunks, in any order, into one row for each row key, sorted by it.
///
/// Columns are found by name; one that older rows lack is null there, one that `output` lacks is left out. The result
/// has the schema of `output`.
pub async fn merge_batches(
    engine: &dyn Engine,
    output: &OutputSchema,
    outputs: impl IntoIterator<Item = RecordBatch>,
) -> Result<RecordBatch> {
    let schema = output.arrow();
    let outputs = outputs.into_iter().map(|batch| conformed(&batch, &schema)).collect::<Result<Vec<_>>>()?;
    if outputs.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let merged = engine.merge(session().read_batches(outputs)?)?.into_optimized_plan()?;
    let context = session().task_ctx();
    let merged = execute_stream(physical(&merged).await?, Arc::clone(&context))?;
    let rows: Vec<RecordBatch> = sorted(stored(merged, output), output, context)?.try_collect().await?;
    Ok(concat_batches(&schema, &rows)?)
}

fn conformed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => Ok(cast(column, field.data_type())?),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<ArrayRef>>>()?)?)
}
