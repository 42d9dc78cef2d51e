//! Lookups: the rows of one entity, folded into one for each combination of the other keys.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Operator};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{DataFrame, Expr, SessionConfig, SessionContext, cast, col, ident};
use neartime_engine::{Engine, FeatureTable, Ratio, ratio};
use neartime_model::Instant;

use super::OnlineStore;
use crate::StoreError;

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
    let mut columns: Vec<Expr> = table.output.columns().iter().map(|column| ident(column.name.as_str())).collect();
    for ratio in &table.ratios {
        columns.push(ratio_of(&merged, ratio)?);
    }
    let answer = merged.sort(by_key)?.select(columns)?;
    let schema: SchemaRef = Arc::clone(answer.schema().inner());
    Ok(concat_batches(&schema, &answer.collect().await?)?)
}

/// A ratio over merged values, all in DOUBLE: a division of integers would round, and one by zero fail.
fn ratio_of(merged: &DataFrame, wanted: &Ratio) -> Result<Expr> {
    let expression = merged.parse_sql_expr(&wanted.expression)?;
    let doubled = expression.transform_up(|part| {
        Ok(match part {
            Expr::Column(column) => Transformed::yes(cast(col(column), DataType::Float64)),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) => {
                Transformed::yes(ratio(*left, *right))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(cast(doubled.data, DataType::Float64).alias(wanted.name.as_str()))
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
