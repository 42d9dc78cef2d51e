//! Rows of an older or differently encoded file as the table has them today.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::StoreError;

/// The column in another encoding of the same values (text views as text, a dictionary as its values).
pub(crate) fn column_as(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, StoreError> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    cast(column, data_type).map_err(|error| StoreError::failed(format!("reading a column as {data_type}"), error))
}

/// The batch with the columns of `schema`: one that it lacks is null, one that `schema` lacks is left out.
pub(crate) fn batch_as(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StoreError> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => column_as(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| StoreError::failed("fitting rows to the table's columns", error))
}
