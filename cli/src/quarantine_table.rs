//! The SQL table `quarantine`: what `quarantine list` shows, read from the task database page by page.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;
use neartime_model::Classified;
use neartime_tasks_db::{QuarantineCursor, QuarantineQuery, QuarantineRow, TasksDb};

/// Rows asked of the database at a time.
const PAGE: u32 = 4_096;

/// The table over `tasks`.
pub(crate) fn table(tasks: Arc<dyn TasksDb>) -> Result<Arc<dyn TableProvider>> {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let chunk = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("task", DataType::Int64, false),
        text("source"),
        text("file_path"),
        Field::new("data_chunk", chunk, false),
        text("key"),
        Field::new("line", DataType::Int64, true),
        text("column"),
        text("reason"),
        text("text"),
    ]));
    let entries = Arc::new(Entries { schema: Arc::clone(&schema), tasks });
    Ok(Arc::new(StreamingTable::try_new(schema, vec![entries])?))
}

struct Entries {
    schema: SchemaRef,
    tasks: Arc<dyn TasksDb>,
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("quarantine")
    }
}

/// Where the next page begins.
enum Place {
    After(Option<QuarantineCursor>),
    End,
}

impl PartitionStream for Entries {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (tasks, schema) = (Arc::clone(&self.tasks), Arc::clone(&self.schema));
        let pages = stream::try_unfold(Place::After(None), move |place| {
            let (tasks, schema) = (Arc::clone(&tasks), Arc::clone(&schema));
            async move {
                let Place::After(after) = place else { return Ok(None) };
                let query = QuarantineQuery { source: None, task: None, after, limit: PAGE };
                let rows = tasks.quarantine(&query).await;
                let rows = rows.map_err(|error| DataFusionError::External(Box::new(Classified::new(error))))?;
                let next = match rows.last() {
                    Some(last) if rows.len() == PAGE as usize => Place::After(Some(last.cursor)),
                    _ => Place::End,
                };
                Ok(Some((batch(&schema, &rows)?, next)))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), pages))
    }
}

fn batch(schema: &SchemaRef, rows: &[QuarantineRow]) -> Result<RecordBatch> {
    let text =
        |of: fn(&QuarantineRow) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
    let chunks = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.data_chunk.as_millis()));
    let lines: Int64Array = rows.iter().map(|row| row.entry.line.and_then(|line| i64::try_from(line).ok())).collect();
    let columns: StringArray = rows.iter().map(|row| row.entry.column.as_deref()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.cursor.task.0))),
        text(|row| row.source.as_str()),
        text(|row| row.file_path.as_str()),
        Arc::new(chunks.with_timezone("UTC")),
        text(|row| row.entry.key.as_str()),
        Arc::new(lines),
        Arc::new(columns),
        text(|row| row.entry.reason.as_str()),
        text(|row| row.entry.text.as_str()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
