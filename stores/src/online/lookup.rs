//! Lookups: the rows of one entity, folded into one for each combination of the other keys.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext, ident};
use neartime_engine::{Engine, FeatureTable, Ratios};
use neartime_model::Instant;

use super::OnlineStore;
use crate::StoreError;
use crate::offline::batch_as;

/// Reads the rows of `entity` and merges them with the table's engine: one row for each combination of the other keys
/// (and of the item), sorted by them, with the table's ratios behind its values. `chunks` bounds `data_chunk`,
/// half-open; `None` folds all there is.
///
/// # Errors
/// Invalid if `chunks` is given for a table that keeps only the latest; Unavailable if the store is away.
pub async fn lookup(
    online: &dyn OnlineStore,
    table: &Arc<FeatureTable>,
    engine: &dyn Engine,
    entity: &str,
    chunks: Option<Range<Instant>>,
) -> std::result::Result<RecordBatch, StoreError> {
    let rows = online.read(table, entity, chunks).await?;
    fold(table, engine, rows).await.map_err(|error| from_datafusion(table, error))
}

async fn fold(table: &FeatureTable, engine: &dyn Engine, rows: SendableRecordBatchStream) -> Result<RecordBatch> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    neartime_engine::register_functions(&context);
    let source = Arc::new(Once { schema: rows.schema(), rows: Mutex::new(Some(rows)) });
    let rows = StreamingTable::try_new(Arc::clone(&source.schema), vec![source])?;
    let merged = engine.merge(context.read_table(Arc::new(rows))?)?;
    let by_key = table.output.row_key().map(|key| ident(key.name.as_str()).sort(true, true)).collect();
    let sorted = merged.sort(by_key)?;
    let schema: SchemaRef = Arc::clone(sorted.schema().inner());
    let sorted = concat_batches(&schema, &sorted.collect().await?)?;
    let ratios =
        Ratios::new(&table.output, &table.ratios).map_err(|error| DataFusionError::External(Box::new(error)))?;
    ratios
        .append(&batch_as(&sorted, &table.output.arrow()).map_err(|error| DataFusionError::External(Box::new(error)))?)
}

/// The online store's own error, if that is what broke the plan.
fn from_datafusion(table: &FeatureTable, error: DataFusionError) -> StoreError {
    match error {
        DataFusionError::External(cause) => match cause.downcast::<StoreError>() {
            Ok(error) => *error,
            Err(cause) => StoreError::failed(format!("folding rows of `{}`", table.name), cause),
        },
        error => StoreError::failed(format!("folding rows of `{}`", table.name), error),
    }
}

/// A stream that a plan reads once.
struct Once {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        rows.unwrap_or_else(|| Box::pin(EmptyRecordBatchStream::new(Arc::clone(&self.schema))))
    }
}
