//! The online store: the same rows by entity, for lookups that take a millisecond.
//!
//! One table a feature. Every write carries a timestamp (the event time, or the fence of the claim) and applies only
//! if the row's own is not higher, so that replay and disorder are no-ops. Rows are folded at read, never at write.

#[cfg(feature = "cassandra")]
mod cassandra;
#[cfg(test)]
mod contract;
mod fold;
mod lookup;
mod publish;
mod rebuild;
mod rows;
mod sqlite;

#[cfg(feature = "cassandra")]
pub use cassandra::{CassandraOnlineStore, CassandraOptions};
pub use lookup::lookup;
pub use publish::{OnlinePublished, publish_online};
pub use rebuild::{Rebuilt, rebuild_latest};
pub use sqlite::SqliteOnlineStore;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use neartime_engine::{FeatureTable, OnlineLayout};
use neartime_model::{Fence, Instant, Span};

use crate::{PartitionFile, StoreError};

/// A store of rows by entity.
#[async_trait]
pub trait OnlineStore: Send + Sync + fmt::Debug {
    /// Creates the feature's table, or adds the measures that it lacks.
    ///
    /// # Errors
    /// Invalid if the table that is there has other keys, or a column of another type.
    async fn ensure(&self, table: &FeatureTable) -> Result<(), StoreError>;

    /// Tells whether the feature's table is there. Refuses what [`Self::ensure`] would refuse, and makes nothing.
    ///
    /// # Errors
    /// As those of [`Self::ensure`].
    async fn check(&self, table: &FeatureTable) -> Result<bool, StoreError>;

    /// Writes rows of `file` (columns as in its table's output, in key order) at `fence`, or at their event time where
    /// the layout is [`neartime_engine::OnlineLayout::Latest`]. Rows without an entity, and rows whose retention is
    /// over, are not written. What the feature's table has besides (measures of other versions) is null in them.
    async fn write(&self, file: &PartitionFile, fence: Fence, rows: RecordBatch) -> Result<(), StoreError>;

    /// Deletes the rows of `file` that have these row keys (columns as in the output's row key), at `fence`.
    async fn delete(&self, file: &PartitionFile, fence: Fence, keys: RecordBatch) -> Result<(), StoreError>;

    /// Reads the rows of one entity, as many as there are, in bounded memory: columns as in the table's output, a
    /// row for each key, chunk and path that is live. `chunks` bounds `data_chunk`, half-open; `None` is all. A table
    /// that is not there has no rows, and a measure that it lacks is null: a read makes nothing.
    ///
    /// # Errors
    /// Invalid if `chunks` is given for a table that keeps only the latest.
    async fn read(
        &self,
        table: &Arc<FeatureTable>,
        entity: &str,
        chunks: Option<Range<Instant>>,
    ) -> Result<SendableRecordBatchStream, StoreError>;

    /// Removes every row of the feature, tombstones too.
    async fn truncate(&self, table: &FeatureTable) -> Result<(), StoreError>;
}

/// Refuses a window over a table that has no chunks.
fn check_window(table: &FeatureTable, chunks: Option<&Range<Instant>>) -> Result<(), StoreError> {
    if chunks.is_some() && table.online == OnlineLayout::Latest {
        return Err(StoreError::invalid(format!(
            "`{}` keeps only the latest row of each key: ask without a window",
            table.name
        )));
    }
    Ok(())
}

/// When the retention of a file's rows is over; `None` is never.
fn expires_at(file: &PartitionFile) -> Option<Instant> {
    file.table.retention.map(|retention| file.chunk.end() + retention)
}

/// The first whole millisecond that is not before `instant`: `data_chunk` is whole milliseconds.
fn ceiled_millis(instant: Instant) -> i64 {
    (instant + Span::from_micros(999)).as_millis()
}
