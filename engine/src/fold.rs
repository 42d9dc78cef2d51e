//! The one aggregation behind transforming a chunk and merging chunks: a DataFusion plan, and for values that need no
//! rounding an operator of our own under the same plan, which is several times faster and hands over to it where memory
//! does not suffice.

mod groups;
mod text_column;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, Expr, ident};
use futures::{StreamExt, TryStreamExt, stream};

use crate::compute::stored;
use crate::functions::exact_sum;
use crate::{Aggregate, OutputSchema};
use groups::Groups;

/// Groups `rows` by the row key and aggregates every other column; keeps names and order of the columns, with the row
/// key first.
pub(crate) fn fold(rows: DataFrame, row_key: &[String], of: impl Fn(&str) -> Aggregate) -> Result<DataFrame> {
    let is_value = |name: &&String| !row_key.contains(name);
    let columns: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    let aggregates: Vec<Expr> = columns.iter().filter(is_value).map(|name| aggregate(of(name), name)).collect();
    rows.aggregate(row_key.iter().map(ident).collect(), aggregates)
}

fn aggregate(aggregate: Aggregate, column: &str) -> Expr {
    let values = ident(column);
    let folded = match aggregate {
        Aggregate::Sum => exact_sum(values),
        Aggregate::Min => min(values),
        Aggregate::Max => max(values),
    };
    folded.alias(column)
}

/// What came of folding in memory.
pub(crate) enum Folded {
    /// The folded rows, sorted by row key.
    Sorted(SendableRecordBatchStream),
    /// Memory did not suffice: rows with the output's columns, to be folded by the plan, which can spill. Those that
    /// have been folded so far keep their memory until they have been handed over.
    Unfinished(SendableRecordBatchStream),
}

/// Whether rows of `output` can be folded in memory, where it suffices.
pub(crate) fn fits_in_groups(output: &OutputSchema) -> bool {
    Groups::of(output).is_some()
}

/// Folds `rows`, which have the columns of `output` (text of any type), within what the pool of `context` gives.
pub(crate) async fn in_memory(
    mut rows: SendableRecordBatchStream,
    output: &OutputSchema,
    context: &Arc<TaskContext>,
) -> Result<Folded> {
    let mut groups = Groups::of(output).expect("the output was looked at when the feature was compiled");
    let memory = MemoryConsumer::new("groups").with_can_spill(true).register(context.memory_pool());
    while let Some(batch) = rows.try_next().await? {
        groups.add(&batch)?;
        if !groups.has_room() || memory.try_resize(groups.bytes()).is_err() {
            let parts = holding(memory, groups.into_parts(), output);
            let rest = stored(rows, output);
            return Ok(Folded::Unfinished(Box::pin(RecordBatchStreamAdapter::new(output.arrow(), parts.chain(rest)))));
        }
    }
    Ok(Folded::Sorted(holding(memory, groups.into_sorted(), output)))
}

/// The batches as a stream that holds `memory` until its end.
fn holding(
    memory: MemoryReservation,
    batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    output: &OutputSchema,
) -> SendableRecordBatchStream {
    let batches = stream::iter(batches).inspect(move |_| {
        let _held = &memory;
    });
    Box::pin(RecordBatchStreamAdapter::new(output.arrow(), batches))
}

#[cfg(test)]
mod tests;
