//! Lookups: the rows of one entity, folded into one for each combination of the other keys.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use futures::TryStreamExt;
use neartime_engine::{Engine, FeatureTable, Ratios, merge_batches};
use neartime_model::Instant;

use super::OnlineStore;
use super::fold::fold;
use crate::StoreError;

/// Rows that are held before they are folded: an entity may have a row for each chunk of many years.
const HELD_ROWS: usize = 64 * 1024;

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
) -> Result<RecordBatch, StoreError> {
    let folding = |error: DataFusionError| StoreError::failed(format!("folding rows of `{}`", table.name), error);
    let merged = async |rows: Vec<RecordBatch>| match fold(&table.output, &rows)? {
        Some(folded) => Ok(folded),
        None => merge_batches(engine, &table.output, rows).await,
    };
    let mut rows = online.read(table, entity, chunks).await?;
    let (mut held, mut held_rows, mut enough) = (Vec::new(), 0, HELD_ROWS);
    while let Some(batch) = rows.try_next().await.map_err(|error| read_error(table, error))? {
        held_rows += batch.num_rows();
        held.push(batch);
        if held_rows >= enough {
            let folded = merged(held).await.map_err(folding)?;
            held_rows = folded.num_rows();
            // Where there is little to fold, fold ever more seldom.
            enough = HELD_ROWS.max(2 * held_rows);
            held = vec![folded];
        }
    }
    let folded = merged(held).await.map_err(folding)?;
    if table.ratios.is_empty() {
        return Ok(folded);
    }
    let ratios = Ratios::new(&table.output, &table.ratios)
        .map_err(|error| StoreError::failed(format!("planning the ratios of `{}`", table.name), error))?;
    ratios.append(&folded).map_err(folding)
}

/// The online store's own error, which its stream wraps.
fn read_error(table: &FeatureTable, error: DataFusionError) -> StoreError {
    let failed = |error| StoreError::failed(format!("reading rows of `{}`", table.name), error);
    StoreError::carried_by(error).unwrap_or_else(failed)
}
