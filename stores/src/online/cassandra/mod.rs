//! The online store in Apache Cassandra or ScyllaDB.
//!
//! The highest write timestamp wins inside the server, so nothing is ever read before it is written: no counters, no
//! lightweight transactions, no batches over partitions. Two writes of one row at one timestamp must not differ: the
//! server keeps the greater value of each cell, and of a write and a delete the delete.

mod connect;
mod failure;
mod in_place;
mod read;
mod statements;
#[cfg(test)]
mod tests;
mod tls;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use neartime_engine::{FeatureTable, OutputColumn, OutputSchema};
use neartime_model::{Clock, FeatureName, Fence, Instant, Span};
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::statement::Statement;
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::Semaphore;

pub use self::connect::CassandraOptions;
use self::failure::{database_error, is_invalid, patiently};
use self::in_place::TableInPlace;
use self::read::Question;
use self::statements::Statements;
use self::write::{Change, IN_FLIGHT, Writing};
use super::rows::{OnlineRows, primary_key};
use super::{OnlineStore, ceiled_millis, check_window, expires_at};
use crate::offline::batch_as;
use crate::{PartitionFile, StoreError};

/// How often a change of the schema is tried again because another process made one meanwhile.
const SCHEMA_ATTEMPTS: u32 = 6;
/// The wait after each.
const SCHEMA_WAIT: Duration = Duration::from_millis(300);
/// How long a change of the schema, or emptying a table, may take.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest time that the servers let a row live: 20 years.
const LONGEST_RETENTION: Span = Span::from_secs(630_720_000);

/// The longest partition key that the servers take.
const LONGEST_ENTITY: usize = 65_535;

/// Rows of one page that a read fetches.
const PAGE_ROWS: i32 = 2_000;

/// The online store in one keyspace of a cluster.
pub struct CassandraOnlineStore {
    session: Arc<Session>,
    keyspace: String,
    clock: Arc<dyn Clock>,
    in_flight: Semaphore,
    /// By their text.
    prepared: Mutex<HashMap<String, PreparedStatement>>,
    /// The columns that a table was seen with and that its feature does not write.
    others: Mutex<HashMap<FeatureName, Vec<String>>>,
}

impl fmt::Debug for CassandraOnlineStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassandraOnlineStore").field("keyspace", &self.keyspace).finish_non_exhaustive()
    }
}

impl CassandraOnlineStore {
    /// Connects to the cluster; `clock` tells how much of a retention is left.
    ///
    /// # Errors
    /// Unavailable if no node answers, the login is refused, or the keyspace is missing; Invalid if the data centre is.
    pub async fn connect(options: &CassandraOptions, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let session = Arc::new(connect::connect(options).await?);
        let keyspace = options.keyspace.clone();
        Ok(Self {
            session,
            keyspace,
            clock,
            in_flight: Semaphore::new(IN_FLIGHT),
            prepared: Mutex::default(),
            others: Mutex::default(),
        })
    }

    /// The columns that a write makes null: measures of other versions, as they were seen when the table was prepared.
    fn others(&self, table: &FeatureTable) -> Vec<String> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.get(&table.name).cloned().unwrap_or_default()
    }

    fn statements<'a>(&'a self, table: &'a FeatureTable) -> Statements<'a> {
        Statements::new(&self.keyspace, table)
    }

    async fn prepare(&self, cql: String) -> Result<PreparedStatement, ExecutionError> {
        let known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(&cql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let prepare = async || Ok(self.session.prepare(cql.as_str()).await?);
        let mut statement = patiently(0, prepare).await?;
        statement.set_is_idempotent(true);
        statement.set_page_size(PAGE_ROWS);
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(prepared.entry(cql).or_insert(statement).clone())
    }

    /// Changes the schema, and returns when all nodes have agreed on it.
    async fn change_schema(&self, cql: &str) -> Result<(), ExecutionError> {
        let mut statement = Statement::new(cql);
        statement.set_request_timeout(Some(SCHEMA_TIMEOUT));
        statement.set_is_idempotent(true);
        self.session.query_unpaged(statement, ()).await?;
        Ok(())
    }

    async fn change(
        &self,
        table: &FeatureTable,
        cql: String,
        rows: OnlineRows,
        change: Change,
    ) -> Result<(), StoreError> {
        if rows.len() == 0 {
            return Ok(());
        }
        let error = |error| database_error(format!("writing to the online table `{}`", table.name), &error);
        let statement = self.prepare(cql).await.map_err(error)?;
        let rows = Arc::new(rows);
        let writing = Writing { session: &self.session, statement, rows, change, in_flight: &self.in_flight };
        writing.run().await.map_err(error)
    }

    /// What is left of the retention of a file's rows.
    fn left(&self, file: &PartitionFile) -> Left {
        let Some(end) = expires_at(file) else { return Left::ForEver };
        let left = end - self.clock.now();
        if left <= Span::ZERO {
            return Left::Nothing;
        }
        // Rounded up: a TTL of 0 would be for ever.
        let secs = (left.as_micros() + 999_999) / 1_000_000;
        Left::Secs(i32::try_from(secs.min(LONGEST_RETENTION.as_micros() / 1_000_000)).expect("20 years of seconds fit"))
    }
}

fn check_retention(table: &FeatureTable) -> Result<(), StoreError> {
    if table.retention.is_some_and(|retention| retention > LONGEST_RETENTION) {
        return Err(StoreError::invalid(format!(
            "the retention of `{}` is longer than the 20 years that cassandra knows: leave it out",
            table.name
        )));
    }
    Ok(())
}

/// The table without columns that are not there yet.
fn without(table: &FeatureTable, lacks: &[&OutputColumn]) -> FeatureTable {
    let is_there = |column: &&OutputColumn| lacks.iter().all(|lacking| lacking.name != column.name);
    let columns = table.output.columns().iter().filter(is_there).cloned().collect();
    FeatureTable { output: OutputSchema::new(columns), ..table.clone() }
}

/// The rows with the columns of `schema`: one that they lack is null.
fn with_nulls(rows: SendableRecordBatchStream, schema: SchemaRef) -> SendableRecordBatchStream {
    let external = |error| DataFusionError::External(Box::new(error));
    let wanted = Arc::clone(&schema);
    let rows = rows.map(move |batch| batch_as(&batch?, &wanted).map_err(external));
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// How long rows may still live.
enum Left {
    ForEver,
    Secs(i32),
    Nothing,
}

#[async_trait]
impl OnlineStore for CassandraOnlineStore {
    async fn ensure(&self, table: &FeatureTable) -> Result<(), StoreError> {
        check_retention(table)?;
        let statements = self.statements(table);
        let mut attempt = 1;
        loop {
            let lacking = match TableInPlace::look(&self.session, &self.keyspace, table).await? {
                None => statements.create(),
                Some(found) => match found.lacks(table)?.first() {
                    None => {
                        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
                        others.insert(table.name.clone(), found.others(table));
                        return Ok(());
                    }
                    Some(column) => statements.add_column(column),
                },
            };
            // Another process may have made the same change since the look, or is making it on another node: whatever
            // this one says, what counts is what is there then.
            if let Err(error) = self.change_schema(&lacking).await {
                if attempt == SCHEMA_ATTEMPTS {
                    return Err(database_error(format!("preparing the online table `{}`", table.name), &error));
                }
                attempt += 1;
                tokio::time::sleep(SCHEMA_WAIT).await;
            }
        }
    }

    async fn check(&self, table: &FeatureTable) -> Result<bool, StoreError> {
        check_retention(table)?;
        let found = TableInPlace::look(&self.session, &self.keyspace, table).await?;
        found.map_or(Ok(false), |found| found.lacks(table).map(|_| true))
    }

    async fn write(&self, file: &PartitionFile, fence: Fence, rows: RecordBatch) -> Result<(), StoreError> {
        let ttl_secs = match self.left(file) {
            Left::Nothing => return Ok(()),
            Left::Secs(secs) => Some(secs),
            Left::ForEver => None,
        };
        let rows = OnlineRows::upserts(file, fence, &rows)?;
        let cql = self.statements(&file.table).insert(&self.others(&file.table));
        self.change(&file.table, cql, rows, Change::Insert { ttl_secs }).await
    }

    async fn delete(&self, file: &PartitionFile, fence: Fence, keys: RecordBatch) -> Result<(), StoreError> {
        let rows = OnlineRows::tombstones(file, fence, &keys)?;
        if matches!(self.left(file), Left::Nothing) {
            return Ok(());
        }
        let cql = self.statements(&file.table).delete();
        let key_columns = primary_key(&file.table).len();
        self.change(&file.table, cql, rows, Change::Delete { key_columns }).await
    }

    async fn read(
        &self,
        table: &Arc<FeatureTable>,
        entity: &str,
        chunks: Option<Range<Instant>>,
    ) -> Result<SendableRecordBatchStream, StoreError> {
        check_window(table, chunks.as_ref())?;
        let schema = table.output.arrow();
        let nothing = || Ok(Box::pin(EmptyRecordBatchStream::new(table.output.arrow())) as SendableRecordBatchStream);
        // No row has such a key, and to ask for it is an error.
        if entity.is_empty() || entity.len() > LONGEST_ENTITY {
            return nothing();
        }
        let attempted = format!("reading the online table `{}`", table.name);
        let statements = self.statements(table);
        let bounded = chunks.is_some();
        let statement = match self.prepare(statements.select_first(bounded, PAGE_ROWS)).await {
            Ok(statement) => statement,
            Err(error) if is_invalid(&error) => {
                let Some(found) = TableInPlace::look(&self.session, &self.keyspace, table).await? else {
                    return nothing();
                };
                let lacks = found.lacks(table)?;
                if lacks.is_empty() {
                    return Err(database_error(attempted, &error));
                }
                let older = Arc::new(without(table, &lacks));
                return Ok(with_nulls(self.read(&older, entity, chunks).await?, schema));
            }
            Err(error) => return Err(database_error(attempted, &error)),
        };
        let window_ms = chunks.map(|chunks| (ceiled_millis(chunks.start), ceiled_millis(chunks.end)));
        let session = Arc::clone(&self.session);
        let mut question = Question { session, statement, schema, entity: entity.to_owned(), window_ms, attempted };
        if let Some(rows) = question.few().await? {
            return Ok(rows);
        }
        let all = self.prepare(statements.select(bounded)).await;
        question.statement = all.map_err(|error| database_error(question.attempted.clone(), &error))?;
        question.answer().await
    }

    async fn truncate(&self, table: &FeatureTable) -> Result<(), StoreError> {
        let cql = self.statements(table).truncate();
        let emptied = patiently(0, || self.change_schema(&cql)).await;
        emptied.map_err(|error| database_error(format!("emptying the online table `{}`", table.name), &error))
    }
}
