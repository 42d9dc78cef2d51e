//! `raw.<source>`: the raw lines as a SQL table.
//!
//! It lists the files of the layout times that a query asks for and reads them by the same rules as a task does; what
//! those rules refuse is told to the log. It knows no tasks: files that were never registered are seen too, unless the
//! source is filled from a stream, of which only registered files count.

mod range;
mod scan;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use neartime_model::{Chunk, Classified, Classify, FileChanged, FileKey, FilePath};
use tokio::sync::mpsc;

use crate::discover::{Found, Scope, discover};
use crate::read::{DEFAULT_BATCH_ROWS, InputFile, ReadError, ReadRequest, Wanted, read, verify};
use crate::report::ReadReport;
use crate::reservoir::Ledger;
use crate::source::Source;
use range::ChunkRange;
use scan::RawScan;

/// Batches of a task that are held back until all of its files have proved whole.
const MAX_HELD: usize = 64;

/// The lines of a source: its columns, its captures and `data_chunk`. Filters on `data_chunk` prune files.
pub struct RawTable {
    source: Arc<Source>,
    ledger: Option<Arc<dyn Ledger>>,
}

impl fmt::Debug for RawTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawTable").field("source", &self.source.name).finish_non_exhaustive()
    }
}

impl RawTable {
    /// The table `raw.<source>`.
    pub fn new(source: Arc<Source>) -> Self {
        Self { source, ledger: None }
    }

    /// Leaves out files that `ledger` says were never registered.
    #[must_use]
    pub fn registered_in(self, ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// The files of a batch that count.
    async fn counting(&self, mut batch: Vec<Found>) -> Result<Vec<Found>> {
        if let Some(ledger) = &self.ledger {
            let keys: Vec<_> = batch.iter().map(|found| found.key.clone()).collect();
            let never = ledger.never_registered(&keys).await.map_err(external)?;
            let never: HashSet<_> = never.into_iter().collect();
            batch.retain(|found| !never.contains(&found.key));
        }
        Ok(batch)
    }

    /// Lists the files in `range`, by task.
    async fn tasks(&self, range: ChunkRange) -> Result<BTreeMap<(Chunk, FilePath), Vec<InputFile>>> {
        let (sender, mut batches) = mpsc::channel(2);
        let scope = match range.layout_times(&self.source) {
            None => Scope::Everything,
            Some((from, until)) => Scope::Between { from, until },
        };
        let list = async move { discover(&self.source, scope, &sender).await };
        let collect = async move {
            let mut tasks = BTreeMap::<_, Vec<_>>::new();
            while let Some(batch) = batches.recv().await {
                for Found { key, version, size, path, chunk, .. } in self.counting(batch).await? {
                    tasks.entry((chunk, path)).or_default().push(InputFile { key, version, size });
                }
            }
            Ok::<_, DataFusionError>(tasks)
        };
        let (listed, tasks) = tokio::join!(list, collect);
        // A ledger that fails ends the listing as cancelled.
        let tasks = tasks?;
        listed.map_err(external)?;
        Ok(tasks)
    }
}

#[async_trait]
impl TableProvider for RawTable {
    fn schema(&self) -> SchemaRef {
        self.source.events_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Whatever a filter spares here, the plan filters again.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        let wanted = Wanted { columns, rows: (!filters.is_empty()).then(|| vec![filters.to_vec()]) };
        let tasks = self.tasks(ChunkRange::of(filters)).await?;
        let partitions = state.config().target_partitions().clamp(1, tasks.len().max(1));
        let mut parts = vec![Vec::new(); partitions];
        for (at, ((chunk, _), files)) in tasks.into_iter().enumerate() {
            parts[at % partitions].push((chunk, files));
        }
        let metrics = ExecutionPlanMetricsSet::new();
        let part = |(partition, tasks)| {
            let (source, schema) = (Arc::clone(&self.source), Arc::clone(&schema));
            let scanned_bytes = MetricBuilder::new(&metrics).counter("bytes_scanned", partition);
            let part = RawPart { source, schema, wanted: wanted.clone(), tasks, scanned_bytes };
            Arc::new(part) as Arc<dyn PartitionStream>
        };
        let parts = parts.into_iter().enumerate().map(part).collect();
        // A filter above may drop rows that the limit counts: then it is not ours to apply.
        let limit = limit.filter(|_| filters.is_empty());
        let streams = StreamingTableExec::try_new(schema, parts, None, [], false, limit)?;
        Ok(Arc::new(RawScan { streams, metrics }))
    }
}

/// The tasks that one partition of a plan reads, one after another.
#[derive(Debug)]
struct RawPart {
    source: Arc<Source>,
    schema: SchemaRef,
    wanted: Wanted,
    tasks: Vec<(Chunk, Vec<InputFile>)>,
    /// As stored, of files that were read to their ends.
    scanned_bytes: Count,
}

impl PartitionStream for RawPart {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let rows = builder.tx();
        let (source, wanted, tasks) = (Arc::clone(&self.source), self.wanted.clone(), self.tasks.clone());
        let scanned_bytes = self.scanned_bytes.clone();
        builder.spawn(async move {
            for (chunk, files) in tasks {
                let request = ReadRequest::new(chunk, files, wanted.clone());
                let batch_rows = context.session_config().batch_size().min(DEFAULT_BATCH_ROWS);
                let task = RawTask { source: &source, context: &context, rows: &rows, scanned_bytes: &scanned_bytes };
                match task.read(ReadRequest { batch_rows, ..request }).await {
                    Err(ReadError::Cancelled) => return Ok(()),
                    result => result.map_err(read_error)?,
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// One task being read for a query.
struct RawTask<'a> {
    source: &'a Arc<Source>,
    context: &'a Arc<TaskContext>,
    rows: &'a tokio::sync::mpsc::Sender<Result<RecordBatch>>,
    scanned_bytes: &'a Count,
}

impl RawTask<'_> {
    /// Reads the files that are whole. Rows that were sent cannot be taken back, so that a small task is held until
    /// it has been read, and the files of a large one are tried before.
    async fn read(&self, mut request: ReadRequest) -> Result<(), ReadError> {
        loop {
            let mut reading = read(self.source, request.clone(), self.context);
            let mut held = Vec::new();
            while held.len() < MAX_HELD {
                match reading.batches.recv().await {
                    Some(batch) => held.push(batch),
                    None => break,
                }
            }
            if held.len() == MAX_HELD {
                drop(reading);
                return self.read_large(request).await;
            }
            match reading.report().await {
                Err(ReadError::Broken { files }) => leave_out(&mut request, &files),
                Err(error) => return Err(error),
                Ok(report) => {
                    for batch in held {
                        self.send(batch).await?;
                    }
                    self.tell(&request, &report);
                    return Ok(());
                }
            }
        }
    }

    async fn read_large(&self, mut request: ReadRequest) -> Result<(), ReadError> {
        match verify(self.source, request.clone()).await {
            Err(ReadError::Broken { files }) => leave_out(&mut request, &files),
            other => other?,
        }
        let mut reading = read(self.source, request.clone(), self.context);
        while let Some(batch) = reading.batches.recv().await {
            self.send(batch).await?;
        }
        self.tell(&request, &reading.report().await?);
        Ok(())
    }

    async fn send(&self, batch: RecordBatch) -> Result<(), ReadError> {
        self.rows.send(Ok(batch)).await.map_err(|_| ReadError::Cancelled)
    }

    /// Tells what was read, and the log what the rules for lines refused.
    fn tell(&self, request: &ReadRequest, report: &ReadReport) {
        self.scanned_bytes.add(usize::try_from(report.bytes_read).unwrap_or(usize::MAX));
        let source = &self.source.name;
        for (reason, count) in &report.counts {
            tracing::warn!(%source, chunk = %request.chunk.start(), %reason, count, "raw lines or values refused");
        }
    }
}

fn leave_out(request: &mut ReadRequest, broken: &BTreeMap<FileKey, String>) {
    for (key, reason) in broken {
        tracing::warn!(%key, reason, "broken raw file left out");
    }
    request.files.retain(|file| !broken.contains_key(&file.key));
}

/// A file that is not the one that was listed is no verdict: the query is to be planned again.
fn read_error(error: ReadError) -> DataFusionError {
    let file = match error {
        ReadError::Changed { key, .. } => key.to_string(),
        ReadError::Gone { keys } => keys.iter().map(FileKey::as_str).collect::<Vec<_>>().join(", "),
        error => return external(error),
    };
    DataFusionError::External(Box::new(FileChanged { file }))
}

fn external(error: impl Classify + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(Classified::new(error)))
}

#[cfg(test)]
mod tests;
