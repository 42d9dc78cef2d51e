//! The online store in a SQLite file: the embedded default.

mod in_place;
mod rows;
mod statements;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::TryStreamExt;
use neartime_connect::sqlite;
use neartime_engine::FeatureTable;
use neartime_model::{Clock, FeatureName, Fence, Instant, Span};
use sqlx::{AssertSqlSafe, SqlitePool};
use tokio::sync::mpsc::Sender;

use self::in_place::TableInPlace;
use self::rows::BoundRows;
use self::statements::Statements;
use super::OnlineStore;
use super::rows::{BatchBuilder, OnlineRows};
use super::{ceiled_millis, expires_at};
use crate::{PartitionFile, StoreError};

/// Rows of one statement, largest first: a statement costs a trip to the connection's thread, however many rows it has.
/// At most 32,766 values may be bound to one.
const STATEMENT_ROWS: [usize; 3] = [512, 32, 1];
const MAX_BOUND: usize = 32_766;

/// Rows of one batch that a read gives.
const READ_ROWS: usize = 1024;

/// How long a writer waits for another process to commit.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
const READERS: u32 = 4;

/// How often the rows past their retention are removed; they are never returned.
const PURGE_EVERY: Span = Span::from_mins(60);

/// The online store in a SQLite file. One writer at a time; readers never wait.
#[derive(Debug)]
pub struct SqliteOnlineStore {
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    purged_at: Mutex<HashMap<FeatureName, Instant>>,
}

impl SqliteOnlineStore {
    /// Opens the file, which is made if it is not there.
    ///
    /// # Errors
    /// Unavailable if it cannot be opened; Invalid on a network file system, where SQLite's locks do not hold.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let refused = |found| StoreError::invalid(format!("the online store {found}"));
        sqlite::refuse_network_file_system(path).map_err(refused)?;
        let options = sqlite::options(path, BUSY_TIMEOUT);
        // Rows come in key order, so that pages are met again soon; a checkpoint then writes each of them once.
        let writing = options.clone().pragma("wal_autocheckpoint", "8000").pragma("cache_size", "-32000");
        let error = |error| StoreError::unavailable(format!("opening the online store {}", path.display()), error);
        let open = || sqlite::pool(1).connect_with(writing.clone());
        let writer = sqlite::open_patiently(BUSY_TIMEOUT, sqlite::is_busy, open).await.map_err(error)?;
        let readers = sqlite::pool(READERS).connect_lazy_with(options);
        Ok(Self { writer, readers, clock, purged_at: Mutex::default() })
    }

    async fn upsert(&self, table: &FeatureTable, rows: &BoundRows) -> Result<(), StoreError> {
        if rows.rows.len() == 0 {
            return Ok(());
        }
        let name = &table.name;
        let error = |error| sqlite_error(format!("writing to the online table `{name}`"), error);
        let statements = Statements::new(table);
        let bound = statements.bound().len();
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(error)?;
        let found = TableInPlace::look(&mut transaction, table).await.map_err(error)?;
        let others = found.others(&statements);
        let mut done = 0;
        for size in STATEMENT_ROWS.into_iter().filter(|size| size * bound <= MAX_BOUND) {
            let sql: Arc<str> = Arc::from(statements.upsert(size, &others));
            while rows.rows.len() - done >= size {
                let query = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql)), rows.arguments(done, size)?);
                query.execute(&mut *transaction).await.map_err(error)?;
                done += size;
            }
        }
        transaction.commit().await.map_err(error)
    }

    /// Whether rows of this file are past their retention already.
    fn is_expired(&self, file: &PartitionFile) -> bool {
        expires_at(file).is_some_and(|end| end <= self.clock.now())
    }

    async fn purge(&self, table: &FeatureTable) -> Result<(), StoreError> {
        let now = self.clock.now();
        let due = {
            let mut purged_at = self.purged_at.lock().unwrap_or_else(PoisonError::into_inner);
            let due = purged_at.get(&table.name).is_none_or(|at| now - *at >= PURGE_EVERY);
            if due {
                purged_at.insert(table.name.clone(), now);
            }
            due
        };
        if table.retention.is_none() || !due {
            return Ok(());
        }
        let purge = sqlx::query(AssertSqlSafe(Statements::new(table).purge())).bind(now.as_millis());
        let purged = purge.execute(&self.writer).await;
        purged.map_err(|error| sqlite_error(format!("purging the online table `{}`", table.name), error))?;
        Ok(())
    }
}

#[async_trait]
impl OnlineStore for SqliteOnlineStore {
    async fn ensure(&self, table: &FeatureTable) -> Result<(), StoreError> {
        let error = |error| sqlite_error(format!("preparing the online table `{}`", table.name), error);
        let statements = Statements::new(table);
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(error)?;
        let found = TableInPlace::look(&mut transaction, table).await.map_err(error)?;
        if found.is_missing() {
            sqlx::query(AssertSqlSafe(statements.create())).execute(&mut *transaction).await.map_err(error)?;
        } else {
            for column in found.lacks(table)? {
                let add = AssertSqlSafe(statements.add_column(column));
                sqlx::query(add).execute(&mut *transaction).await.map_err(error)?;
            }
        }
        transaction.commit().await.map_err(error)
    }

    async fn check(&self, table: &FeatureTable) -> Result<bool, StoreError> {
        let error = |error| sqlite_error(format!("looking at the online table `{}`", table.name), error);
        let mut reader = self.readers.acquire().await.map_err(error)?;
        let found = TableInPlace::look(&mut reader, table).await.map_err(error)?;
        if found.is_missing() { Ok(false) } else { found.lacks(table).map(|_| true) }
    }

    async fn write(&self, file: &PartitionFile, fence: Fence, rows: RecordBatch) -> Result<(), StoreError> {
        self.purge(&file.table).await?;
        if self.is_expired(file) {
            return Ok(());
        }
        let rows = OnlineRows::upserts(file, fence, &rows)?;
        self.upsert(&file.table, &BoundRows { rows, expires_at: expires_at(file), deleted: false }).await
    }

    async fn delete(&self, file: &PartitionFile, fence: Fence, keys: RecordBatch) -> Result<(), StoreError> {
        let rows = OnlineRows::tombstones(file, fence, &keys)?;
        if self.is_expired(file) {
            return Ok(());
        }
        self.upsert(&file.table, &BoundRows { rows, expires_at: expires_at(file), deleted: true }).await
    }

    async fn read(
        &self,
        table: &Arc<FeatureTable>,
        entity: &str,
        chunks: Option<Range<Instant>>,
    ) -> Result<SendableRecordBatchStream, StoreError> {
        super::check_window(table, chunks.as_ref())?;
        let mut rows = RecordBatchReceiverStream::builder(table.output.arrow(), 2);
        let question = Question {
            readers: self.readers.clone(),
            table: Arc::clone(table),
            entity: entity.to_owned(),
            chunks,
            now: self.clock.now(),
        };
        let sender = rows.tx();
        rows.spawn(async move {
            let answered = question.answer(&sender).await;
            answered.map_err(|error| DataFusionError::External(Box::new(error)))
        });
        Ok(rows.build())
    }

    async fn truncate(&self, table: &FeatureTable) -> Result<(), StoreError> {
        let truncate = sqlx::query(AssertSqlSafe(Statements::new(table).truncate()));
        let truncated = truncate.execute(&self.writer).await;
        truncated.map_err(|error| sqlite_error(format!("emptying the online table `{}`", table.name), error))?;
        Ok(())
    }
}

/// What a read asks for.
struct Question {
    readers: SqlitePool,
    table: Arc<FeatureTable>,
    entity: String,
    chunks: Option<Range<Instant>>,
    now: Instant,
}

impl Question {
    /// Sends the rows in batches as long as somebody takes them.
    async fn answer(self, batches: &Sender<Result<RecordBatch, DataFusionError>>) -> Result<(), StoreError> {
        let name = &self.table.name;
        let error = |error| sqlite_error(format!("reading the online table `{name}`"), error);
        let mut connection = self.readers.acquire().await.map_err(error)?;
        let found = TableInPlace::look(&mut connection, &self.table).await.map_err(error)?;
        if found.is_missing() {
            return Ok(());
        }
        let sql = Statements::new(&self.table).select(self.chunks.is_some(), &found.lacks(&self.table)?);
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(self.entity).bind(self.now.as_millis());
        if let Some(chunks) = self.chunks {
            query = query.bind(ceiled_millis(chunks.start)).bind(ceiled_millis(chunks.end));
        }
        let mut found = query.fetch(&mut *connection);
        let mut batch = BatchBuilder::new(self.table.output.arrow());
        while let Some(row) = found.try_next().await.map_err(error)? {
            rows::push(&mut batch, &row).map_err(error)?;
            if batch.rows() == READ_ROWS && batches.send(Ok(batch.finish()?)).await.is_err() {
                return Ok(());
            }
        }
        if batch.rows() > 0 {
            batches.send(Ok(batch.finish()?)).await.ok();
        }
        Ok(())
    }
}

fn sqlite_error(attempted: String, error: sqlx::Error) -> StoreError {
    // Primary result codes: PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, PROTOCOL, NOTADB.
    const AWAY: [u32; 10] = [3, 5, 6, 8, 10, 11, 13, 14, 15, 26];
    let verdict = match &error {
        sqlx::Error::Database(_) => !sqlite::primary_code(&error).is_some_and(|code| AWAY.contains(&code)),
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => false,
        _ => true,
    };
    if verdict { StoreError::failed(attempted, error) } else { StoreError::unavailable(attempted, error) }
}
