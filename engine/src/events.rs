//! The tables that plans are made over: a source's events, and streams that are read once.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::{DataFrame, ident};
use futures::{StreamExt, TryStreamExt};
use neartime_model::{ChunkWidth, SourceName};

/// Where the schema of a source's events notes the name of the event time column.
const EVENT_TIME: &str = "neartime.event_time";

/// What a feature can know of its source before any event is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsTable {
    /// The source's name.
    pub source: SourceName,
    /// Its columns, then its captures (text), then `data_chunk` (TIMESTAMP(ms, UTC)).
    pub schema: SchemaRef,
    /// The column that holds the event time; `data_chunk` where the events have none.
    pub event_time: String,
    /// How long its chunks are.
    pub width: ChunkWidth,
}

impl EventsTable {
    /// The schema with a note of the event time, for [`event_time`].
    pub(crate) fn noted_schema(&self) -> SchemaRef {
        let mut schema = self.schema.as_ref().clone();
        schema.metadata.insert(EVENT_TIME.to_owned(), self.event_time.clone());
        Arc::new(schema)
    }
}

/// The event time of the events that `preprocess` is given, whatever the source calls it.
pub fn event_time(events: &DataFrame) -> Result<Expr> {
    match events.schema().metadata().get(EVENT_TIME) {
        Some(column) => Ok(ident(column)),
        None => plan_err!("these events do not tell which column is their time"),
    }
}

/// Events that a plan can be made over, but not read: compiling needs only their schema.
#[derive(Debug)]
pub(crate) struct PlannedEvents {
    schema: SchemaRef,
}

impl PlannedEvents {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

#[async_trait]
impl TableProvider for PlannedEvents {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Every filter may be used to drop rows early, and stays in the plan all the same.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan_err!("a feature cannot read events while it is compiled")
    }
}

/// A stream as a table that can be read once. Columns are found by name; others that the stream carries are left out.
pub(crate) struct OneShot {
    schema: SchemaRef,
    stream: Mutex<Option<SendableRecordBatchStream>>,
}

impl OneShot {
    /// A table of `schema` whose rows come from `stream`.
    pub(crate) fn new(schema: SchemaRef, stream: SendableRecordBatchStream) -> Self {
        Self { schema, stream: Mutex::new(Some(stream)) }
    }

    /// The plan that reads the columns `projected` of the stream.
    pub(crate) fn plan(&self, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
        let projected = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let stream = self.stream.lock().expect("nothing panics under this lock").take();
        let partition = OneShotPartition { schema: Arc::clone(&projected), stream: Mutex::new(stream) };
        Ok(Arc::new(StreamingTableExec::try_new(projected, vec![Arc::new(partition)], None, [], false, None)?))
    }
}

impl fmt::Debug for OneShot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneShot").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for OneShot {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.plan(projection)
    }
}

struct OneShotPartition {
    schema: SchemaRef,
    stream: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for OneShotPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneShotPartition")
    }
}

impl PartitionStream for OneShotPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let stream = self.stream.lock().expect("nothing panics under this lock").take();
        let Some(stream) = stream else {
            let again = async { exec_err!("the events of a run can be read only once") };
            return Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(again)));
        };
        let positions = match positions(&schema, &stream.schema()) {
            Ok(positions) => positions,
            Err(error) => {
                let missing = futures::stream::once(async { Err(error) });
                return Box::pin(RecordBatchStreamAdapter::new(schema, missing));
            }
        };
        let projected = Arc::clone(&schema);
        let batches = stream.map_ok(move |batch| {
            let columns = positions.iter().map(|&at| Arc::clone(batch.column(at))).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&projected), columns, &options)?)
        });
        let batches = batches.map(|batch| batch.flatten());
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

/// Where the stream has the columns of `wanted`.
fn positions(wanted: &SchemaRef, stream: &SchemaRef) -> Result<Vec<usize>> {
    let position = |field: &Arc<Field>| match stream.column_with_name(field.name()) {
        Some((at, found)) if found.data_type() == field.data_type() => Ok(at),
        Some((_, found)) => exec_err!(
            "the events carry `{}` as {}, and the feature was compiled for {}",
            field.name(),
            found.data_type(),
            field.data_type()
        ),
        None => exec_err!("the events do not carry `{}`, which the feature reads", field.name()),
    };
    wanted.fields().iter().map(position).collect()
}
