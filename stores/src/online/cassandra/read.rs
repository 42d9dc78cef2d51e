//! Reading the rows of one entity, page by page.
//!
//! Most entities have few rows, and the server answers a question with a limit that fits a page without the machinery
//! of paging, a tenth quicker. Only an answer that is not whole is asked for again, with pages.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use scylla::client::session::Session;
use scylla::deserialize::row::{ColumnIterator, RawColumn};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;

use super::PAGE_ROWS;
use super::failure::{database_error, patiently};
use crate::StoreError;
use crate::online::rows::{BatchBuilder, ColumnBuilder};

/// What a read asks for.
pub(super) struct Question {
    pub(super) session: Arc<Session>,
    pub(super) statement: PreparedStatement,
    pub(super) schema: SchemaRef,
    pub(super) entity: String,
    /// Bounds of `data_chunk` in epoch milliseconds, half-open.
    pub(super) window_ms: Option<(i64, i64)>,
    /// What the answer is of, for errors.
    pub(super) attempted: String,
}

impl Question {
    /// All rows, if a question for no more than a page's brings them. A page may also end early, with more to come.
    pub(super) async fn few(&self) -> Result<Option<SendableRecordBatchStream>, StoreError> {
        let (rows, more) = self.page(PagingState::start()).await?;
        let is_whole = more.is_none() && rows.num_rows() < PAGE_ROWS as usize;
        Ok(is_whole.then(|| self.alone(rows)))
    }

    /// An answer of one page.
    fn alone(&self, page: RecordBatch) -> SendableRecordBatchStream {
        let rows = futures::stream::iter([Ok(page)]);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }

    /// Answers with the first page, and with the others as somebody takes them. Most answers have one page, and for
    /// them no task is made.
    pub(super) async fn answer(self) -> Result<SendableRecordBatchStream, StoreError> {
        let (first, more) = self.page(PagingState::start()).await?;
        let Some(more) = more else { return Ok(self.alone(first)) };
        let mut rows = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), 2);
        let sender = rows.tx();
        rows.spawn(async move {
            let (mut batch, mut more) = (first, Some(more));
            while sender.send(Ok(batch)).await.is_ok() {
                let Some(next) = more else { break };
                let page = self.page(next).await;
                (batch, more) = page.map_err(|error| DataFusionError::External(Box::new(error)))?;
            }
            Ok(())
        });
        Ok(rows.build())
    }

    /// One page, and where the next begins.
    async fn page(&self, state: PagingState) -> Result<(RecordBatch, Option<PagingState>), StoreError> {
        let failed = |error: &dyn std::error::Error| StoreError::failed(self.attempted.clone(), error.to_string());
        let (session, statement, entity) = (&self.session, &self.statement, self.entity.as_str());
        let asked = async || match self.window_ms {
            None => session.execute_single_page(statement, (entity,), state.clone()).await,
            Some((from, to)) => {
                let values = (entity, CqlTimestamp(from), CqlTimestamp(to));
                session.execute_single_page(statement, values, state.clone()).await
            }
        };
        let answered = patiently(0, asked).await;
        let (found, more) = answered.map_err(|error| database_error(self.attempted.clone(), &error))?;
        let found = found.into_rows_result().map_err(|error| failed(&error))?;
        let mut batch = BatchBuilder::new(Arc::clone(&self.schema));
        for row in found.rows::<ColumnIterator<'_, '_>>().map_err(|error| failed(&error))? {
            let mut row = row.map_err(|error| failed(&error))?;
            batch.push(|_, column| {
                let cell = row.next().ok_or_else(|| self.garbled())?;
                append(column, &cell.map_err(|error| failed(&error))?).ok_or_else(|| self.garbled())
            })?;
        }
        let more = match more {
            PagingStateResponse::HasMorePages { state } => Some(state),
            PagingStateResponse::NoMorePages => None,
        };
        Ok((batch.finish()?, more))
    }

    fn garbled(&self) -> StoreError {
        StoreError::failed(self.attempted.clone(), "a value does not have the type of its column")
    }
}

/// Appends a value in its column's encoding; `None` if it has another.
fn append(column: &mut ColumnBuilder, cell: &RawColumn<'_, '_>) -> Option<()> {
    let bytes = cell.slice.map(|slice| slice.as_slice());
    match column {
        ColumnBuilder::Text(text) => {
            let value = bytes.map(std::str::from_utf8).transpose().ok()?;
            ColumnBuilder::append_text(text, value);
        }
        ColumnBuilder::Integer(numbers) => {
            let value = bytes.map(<[u8; 8]>::try_from).transpose().ok()?;
            numbers.append_option(value.map(i64::from_be_bytes));
        }
        ColumnBuilder::Float(numbers) => {
            let value = bytes.map(<[u8; 8]>::try_from).transpose().ok()?;
            numbers.append_option(value.map(f64::from_be_bytes));
        }
    }
    Some(())
}
