//! `unique`: of the rows of a task with the same value, the first by event time, key and line stays.
//!
//! The rows are sorted by DataFusion, which spills to disk beyond the memory it is given, and neighbours compared.
//! Rows without a value, or with an empty text, all stay.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, AsArray as _, BooleanArray};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::read::{ReadError, ReadRequest, Reading, start};
use crate::report::ReadReport;
use crate::rows::Output;
use crate::source::Source;

/// Begins to read the files of `request`, and leaves out the rows whose value an earlier row has.
pub(crate) fn read(source: &Arc<Source>, request: ReadRequest, context: &Arc<TaskContext>) -> Reading {
    let unique = source.unique.as_deref().and_then(|name| source.column_index(name));
    let unique = unique.expect("checked with the source");
    let event_time = source.event_time_column().map(Output::Column);
    let hidden: Vec<_> = [Output::Column(unique)]
        .into_iter()
        .chain(event_time)
        .chain([Output::FileNumber, Output::LineNumber])
        .collect();
    let wanted = request.wanted.columns.len();
    let threads = request.threads.max(1);
    let raw = start(source, request, &hidden);
    let (sender, batches) = mpsc::channel(threads + 1);
    let context = Arc::clone(context);
    let report = tokio::spawn(async move { deduplicate(raw, wanted, sender, context).await });
    Reading::new(batches, report)
}

/// Sends the first row of each value. The columns from `wanted` on are what to sort by, the unique one first.
async fn deduplicate(
    mut raw: Reading,
    wanted: usize,
    sender: mpsc::Sender<RecordBatch>,
    context: Arc<TaskContext>,
) -> std::result::Result<ReadReport, ReadError> {
    let mut duplicates = 0;
    // Without rows there is no schema to sort by, and nothing to sort.
    if let Some(first) = raw.batches.recv().await {
        let (_, empty) = mpsc::channel(1);
        let rest = std::mem::replace(&mut raw.batches, empty);
        let mut sorted = sort(first, rest, wanted, context).map_err(ReadError::Unique)?;
        let mut firsts = Firsts::new(&sorted.schema(), wanted).map_err(ReadError::Unique)?;
        while let Some(batch) = sorted.next().await {
            let (batch, dropped) = batch.and_then(|batch| firsts.keep(&batch)).map_err(ReadError::Unique)?;
            duplicates += dropped;
            if batch.num_rows() > 0 && sender.send(batch).await.is_err() {
                return Err(ReadError::Cancelled);
            }
        }
    }
    let report = raw.report().await?;
    Ok(ReadReport { rows: report.rows - duplicates, duplicates, ..report })
}

fn sort(
    first: RecordBatch,
    rest: mpsc::Receiver<RecordBatch>,
    wanted: usize,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let schema = first.schema();
    let by = (wanted..schema.fields().len())
        .map(|at| PhysicalSortExpr::new_default(Arc::new(Column::new(schema.field(at).name(), at))));
    let ordering = LexOrdering::new(by).expect("the unique column is there");
    let rows = Arc::new(Rows { schema: Arc::clone(&schema), batches: Mutex::new(Some((first, rest))) });
    let input = StreamingTableExec::try_new(schema, vec![rows], None, [], false, None)?;
    SortExec::new(ordering, Arc::new(input)).execute(0, context)
}

/// The rows of a read as a partition of a plan; can be taken once.
struct Rows {
    schema: SchemaRef,
    batches: Mutex<Option<(RecordBatch, mpsc::Receiver<RecordBatch>)>>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let taken = self.batches.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (first, mut rest) = taken.expect("the plan is executed once");
        let rest = futures::stream::poll_fn(move |context| rest.poll_recv(context));
        let batches = futures::stream::iter([first]).chain(rest).map(Ok);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// Keeps the first row of each value of sorted batches.
struct Firsts {
    wanted: usize,
    converter: RowConverter,
    last: Option<OwnedRow>,
}

impl Firsts {
    fn new(schema: &SchemaRef, wanted: usize) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(schema.field(wanted).data_type().clone())])?;
        Ok(Self { wanted, converter, last: None })
    }

    /// The wanted columns of the rows that stay, and how many do not.
    fn keep(&mut self, batch: &RecordBatch) -> Result<(RecordBatch, u64)> {
        let unique = batch.column(self.wanted);
        let values = self.converter.convert_columns(std::slice::from_ref(unique))?;
        let texts = unique.as_string_view_opt();
        let is_missing = |at: usize| unique.is_null(at) || texts.is_some_and(|texts| texts.value(at).is_empty());
        let is_first = |at: usize| match at.checked_sub(1) {
            _ if is_missing(at) => true,
            Some(before) => values.row(at) != values.row(before),
            None => self.last.as_ref().is_none_or(|last| last.row() != values.row(at)),
        };
        let mask: BooleanArray = (0..batch.num_rows()).map(|at| Some(is_first(at))).collect();
        self.last = batch.num_rows().checked_sub(1).map(|at| values.row(at).owned());
        let wanted = batch.project(&(0..self.wanted).collect::<Vec<_>>()).map_err(DataFusionError::from)?;
        let kept = filter_record_batch(&wanted, &mask)?;
        let dropped = batch.num_rows() - kept.num_rows();
        Ok((kept, dropped as u64))
    }
}
