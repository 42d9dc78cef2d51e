//! One chunk's events through one feature.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{SortOptions, cast, take};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{StreamExt, TryStreamExt};

use crate::attempt::recount;
use crate::compile::Fold;
use crate::events::OneShot;
use crate::fold::{Folded, in_memory};
use crate::planner::{is_events, physical, source};
use crate::{CompiledFeature, Counts, OutputSchema};

/// What a run gives.
pub struct Computed {
    /// The rows of the feature, sorted by row key: nulls first, text by its bytes. Polling it does all the work; an
    /// error of the stream of events comes out of it as it went in.
    pub rows: SendableRecordBatchStream,
    /// What happened to the rows, final when the stream has ended.
    pub counts: Arc<Counts>,
}

impl CompiledFeature {
    /// Computes the rows of one chunk.
    ///
    /// `events` may carry more columns than [`wanted`](CompiledFeature::wanted), in any order. Memory is taken from
    /// the pool of `context`; groups and rows that do not fit it go to its disk. The rows are the same, bit for bit,
    /// however the events are ordered and cut into batches.
    pub async fn compute(&self, context: Arc<TaskContext>, events: SendableRecordBatchStream) -> Result<Computed> {
        let counts = Arc::new(Counts::default());
        let events = counted(events, Arc::clone(&counts), Counts::add_in);
        let cleaned = self.run(&self.preprocess, &self.events, events, &counts, &context).await?;
        let guarded = self.guard.stream(cleaned, &counts);
        let (output, guarded_schema) = (&self.table.output, self.guard.schema());
        let sorted = match &self.fold {
            Fold::Plan(plan) => {
                let folded = self.run(plan, guarded_schema, guarded, &counts, &context).await?;
                sorted(stored(folded, output), output, context)?
            }
            Fold::Groups { lift, .. } => {
                let lifted = self.run(lift, guarded_schema, guarded, &counts, &context).await?;
                let feature = self.clone();
                let folded = futures::stream::once(async move { feature.folded(lifted, &context).await }).try_flatten();
                Box::pin(RecordBatchStreamAdapter::new(output.arrow(), folded))
            }
        };
        Ok(Computed { rows: counted(sorted, Arc::clone(&counts), Counts::add_out), counts })
    }

    /// Folds and sorts in memory, or by plan where that does not suffice.
    async fn folded(
        &self,
        lifted: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let output = &self.table.output;
        let (rows, merge) = match (in_memory(lifted, output, context).await?, &self.fold) {
            (Folded::Sorted(rows), _) | (Folded::Unfinished(rows), Fold::Plan(_)) => return Ok(rows),
            (Folded::Unfinished(rows), Fold::Groups { merge, .. }) => (rows, merge),
        };
        let merged = self.run(merge, &output.arrow(), rows, &Arc::default(), context).await?;
        sorted(stored(merged, output), output, Arc::clone(context))
    }

    async fn run(
        &self,
        plan: &LogicalPlan,
        schema: &SchemaRef,
        input: SendableRecordBatchStream,
        counts: &Arc<Counts>,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (plan, unread) = bind(plan, schema, input, counts)?;
        let rows = execute_stream(physical(&plan).await?, Arc::clone(context))?;
        Ok(match unread {
            Some(input) => after(input, rows),
            None => rows,
        })
    }
}

/// Puts the stream of this run into the place of the scan, and this run's counts into the attempts. The stream comes
/// back if the plan has no scan, as under a condition that is never true.
fn bind(
    plan: &LogicalPlan,
    schema: &SchemaRef,
    input: SendableRecordBatchStream,
    counts: &Arc<Counts>,
) -> Result<(LogicalPlan, Option<SendableRecordBatchStream>)> {
    let mut input = Some(input);
    let bound = plan.clone().transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(mut scan) if is_events(&scan) => {
            if let Some(input) = input.take() {
                scan.source = source(OneShot::new(Arc::clone(schema), input));
            }
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        node => node.map_expressions(|expr| recount(expr, counts)),
    })?;
    Ok((bound.data, input))
}

/// The rows, once the input was read to its end: whoever sends it must not find the line cut.
fn after(input: SendableRecordBatchStream, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let nothing = input.try_filter_map(|_| std::future::ready(Ok(None)));
    Box::pin(RecordBatchStreamAdapter::new(schema, nothing.chain(rows)))
}

fn counted(rows: SendableRecordBatchStream, counts: Arc<Counts>, add: fn(&Counts, usize)) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let counting = rows.inspect_ok(move |batch| add(&counts, batch.num_rows()));
    Box::pin(RecordBatchStreamAdapter::new(schema, counting))
}

/// The rows in the types that are stored, each batch in memory of its own: an aggregation emits slices of one large
/// batch, and the sort would charge the whole of it for each slice.
pub(crate) fn stored(rows: SendableRecordBatchStream, output: &OutputSchema) -> SendableRecordBatchStream {
    let schema = output.arrow();
    let stored = Arc::clone(&schema);
    let rows = rows.map(move |batch| {
        let batch = batch?;
        let every = UInt32Array::from_iter_values(0..u32::try_from(batch.num_rows()).expect("batches are small"));
        let columns = batch.columns().iter().zip(stored.fields()).map(|(column, field)| {
            let own = match column.data_type() == field.data_type() {
                true => take(column, &every, None)?,
                false => cast(column, field.data_type())?,
            };
            Ok(own)
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&stored), columns)?)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Sorts rows by row key, on disk where memory does not suffice.
pub(crate) fn sorted(
    rows: SendableRecordBatchStream,
    output: &OutputSchema,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let options = SortOptions { descending: false, nulls_first: true };
    let by = |(at, column): (usize, &crate::OutputColumn)| {
        PhysicalSortExpr::new(Arc::new(Column::new(column.name.as_str(), at)), options)
    };
    let ordering = LexOrdering::new(output.row_key().enumerate().map(by)).expect("a feature has at least one key");
    let input = OneShot::new(output.arrow(), rows).plan(None)?;
    let sort: Arc<dyn ExecutionPlan> = Arc::new(SortExec::new(ordering, input));
    execute_stream(sort, context)
}

#[cfg(test)]
mod tests;
