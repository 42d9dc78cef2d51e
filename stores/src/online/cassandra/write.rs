//! Writing many rows: a bounded number of statements in flight, each sent again until it is done.
//!
//! Rows of one entity go together, as one unlogged batch: to the server that is one change of one partition. Batches
//! never span partitions.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::{CellWriter, RowWriter};
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::Semaphore;

use super::failure::patiently;
use crate::online::rows::{Cell, OnlineRows};

/// Statements that are on their way at the same time, over all writers of a store.
pub(super) const IN_FLIGHT: usize = 512;

/// Rows of one batch, and the bytes of their cells, at most: a server has it in memory whole.
const BATCH_ROWS: usize = 100;
const BATCH_BYTES: usize = 32 * 1024;

/// What is done with each row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// Binds as [`super::statements::Statements::insert`] wants it.
    Insert { ttl_secs: Option<i32> },
    /// Binds as [`super::statements::Statements::delete`] wants it.
    Delete { key_columns: usize },
}

/// Rows on their way.
pub(super) struct Writing<'a> {
    pub(super) session: &'a Session,
    pub(super) statement: PreparedStatement,
    pub(super) rows: Arc<OnlineRows>,
    pub(super) change: Change,
    pub(super) in_flight: &'a Semaphore,
}

impl Writing<'_> {
    /// Sends all rows; the first failure that does not pass ends it. Rows that were sent until then stay written.
    pub(super) async fn run(&self) -> Result<(), ExecutionError> {
        let next = Mutex::new(0);
        // A lane sends one statement after the other, so that what a statement costs is no allocation of a future.
        let lanes: FuturesUnordered<_> =
            (0..IN_FLIGHT.min(self.rows.len())).map(|lane| self.lane(lane, &next)).collect();
        lanes.try_collect().await
    }

    async fn lane(&self, lane: usize, next: &Mutex<usize>) -> Result<(), ExecutionError> {
        while let Some(entity) = self.take_entity(next) {
            // One after the other: writers of one partition only wait for each other inside the server.
            let mut done = entity.start;
            while done < entity.end {
                let batch = self.batch_of(done..entity.end);
                done = batch.end;
                let _permit = self.in_flight.acquire().await.expect("the semaphore is never closed");
                patiently(lane, || self.send(batch.clone())).await?;
            }
        }
        Ok(())
    }

    /// The rows of the next entity. Rows come sorted by it.
    fn take_entity(&self, next: &Mutex<usize>) -> Option<Range<usize>> {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let start = *next;
        if start == self.rows.len() {
            return None;
        }
        let entity = self.rows.entity(start);
        let same = (start + 1..self.rows.len()).take_while(|row| self.rows.entity(*row) == entity).count();
        *next = start + 1 + same;
        Some(start..*next)
    }

    /// As many of these rows as go into one batch.
    fn batch_of(&self, rows: Range<usize>) -> Range<usize> {
        let mut bytes = 0;
        let fitting = rows.clone().take(BATCH_ROWS).take_while(|row| {
            bytes += self.rows.cells(*row).map(size_of_cell).sum::<usize>();
            bytes <= BATCH_BYTES
        });
        rows.start..rows.start + fitting.count().max(1)
    }

    async fn send(&self, group: Range<usize>) -> Result<(), ExecutionError> {
        let row = |row| BoundRow { rows: Arc::clone(&self.rows), row, change: self.change };
        if group.len() == 1 {
            self.session.execute_unpaged(&self.statement, row(group.start)).await?;
            return Ok(());
        }
        let statements = vec![self.statement.clone().into(); group.len()];
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        self.session.batch(&batch, group.map(row).collect::<Vec<_>>()).await?;
        Ok(())
    }
}

fn size_of_cell(cell: Cell<'_>) -> usize {
    const HEADER: usize = 4;
    HEADER
        + match cell {
            Cell::Null => 0,
            Cell::Text(text) => text.len(),
            Cell::Integer(_) | Cell::Float(_) => 8,
        }
}

/// The values of one row for its statement, written from the columns without a copy between.
struct BoundRow {
    rows: Arc<OnlineRows>,
    row: usize,
    change: Change,
}

impl SerializeRow for BoundRow {
    fn serialize(&self, _: &RowSerializationContext<'_>, writer: &mut RowWriter<'_>) -> Result<(), SerializationError> {
        let written_at = Cell::Integer(self.rows.write_ts(self.row));
        match self.change {
            Change::Insert { ttl_secs } => {
                for cell in self.rows.cells(self.row).chain([written_at]) {
                    write_cell(writer.make_cell_writer(), cell)?;
                }
                if let Some(secs) = ttl_secs {
                    set(writer.make_cell_writer(), &secs.to_be_bytes())?;
                }
            }
            Change::Delete { key_columns } => {
                let keys = self.rows.cells(self.row).take(key_columns);
                for cell in std::iter::once(written_at).chain(keys) {
                    write_cell(writer.make_cell_writer(), cell)?;
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// Writes a cell in the one encoding that its column has: bigint, timestamp and double are eight bytes.
fn write_cell(writer: CellWriter<'_>, cell: Cell<'_>) -> Result<(), SerializationError> {
    match cell {
        Cell::Null => {
            writer.set_null();
            Ok(())
        }
        Cell::Text(text) => set(writer, text.as_bytes()),
        Cell::Integer(number) => set(writer, &number.to_be_bytes()),
        Cell::Float(number) => set(writer, &number.to_be_bytes()),
    }
}

fn set(writer: CellWriter<'_>, bytes: &[u8]) -> Result<(), SerializationError> {
    writer.set_value(bytes).map_err(SerializationError::new)?;
    Ok(())
}
