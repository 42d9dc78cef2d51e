//! Reports in Postgres.
//!
//! `air_report` is a partitioned table of one partition. A report is staged in a table of its own, which then takes the
//! place of that partition in one short transaction: whoever reads waits for it, or holds it up, but reads one report.
//! Views and grants belong to the partitioned table and outlive every report.
//!
//! Everything runs in transactions and without named statements, so that PgBouncer may pool them.

mod copy;
mod rows;

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use neartime_connect::postgres;
use neartime_model::Fence;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};

use super::patience::{LOCK_TIMEOUT, patiently};
use super::{LiveReport, Publisher, ShowQuery, fence_of};
use crate::error::AirError;
use crate::report::{Report, Row};

const ONE_AT_A_TIME: &str = include_str!("../../../queries/postgres/one_at_a_time.sql");
const CREATE_REPORT: &str = include_str!("../../../queries/postgres/create_report.sql");
const CREATE_INPUTS: &str = include_str!("../../../queries/postgres/create_inputs.sql");
const CREATE_REPORTS: &str = include_str!("../../../queries/postgres/create_reports.sql");
const CREATE_STAGE: &str = include_str!("../../../queries/postgres/create_stage.sql");
const CREATE_INDEX: &str = include_str!("../../../queries/postgres/create_index.sql");
const COPY: &str = include_str!("../../../queries/postgres/copy.sql");
const LOCK_REPORTS: &str = include_str!("../../../queries/postgres/lock_reports.sql");
const LIVE: &str = include_str!("../../../queries/postgres/live.sql");
const SWAP: &str = include_str!("../../../queries/postgres/swap.sql");
const RETIRE: &str = include_str!("../../../queries/postgres/retire.sql");
const RECORD: &str = include_str!("../../../queries/postgres/record.sql");
const LEFTOVERS: &str = include_str!("../../../queries/postgres/leftovers.sql");

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const REPORT: &str = "air_report";
const INPUTS: &str = "air_report_inputs";

/// A Postgres database with the report, in the schema that its connections find first.
#[derive(Clone)]
pub struct PgPublisher {
    pool: PgPool,
}

/// The stage tables of one run.
struct Stages {
    report: String,
    inputs: String,
}

impl PgPublisher {
    /// Connects to the database at `url` (`postgres://…`), and makes empty tables where there are none.
    ///
    /// A server that is not on this machine is reached by TLS, as [`neartime_connect::postgres::options`] has it.
    pub async fn open(url: &str) -> Result<Self, AirError> {
        let options = postgres::options(url)
            .map_err(|wrong| AirError::Invalid(format!("air: the address in `database` {wrong}")))?;
        let options = options
            .application_name("neartime air")
            // A pooler hands the next statement to another connection, which does not know this one's names.
            .statement_cache_capacity(0)
            // Not among what PgBouncer lets clients set.
            .extra_float_digits(None);
        // Not from the pool: that hides why it gets none.
        let first = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await;
        let first = first.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        let closed = first.map_err(AirError::database("connect"))?.close().await;
        closed.map_err(AirError::database("close a connection"))?;
        let publisher = Self { pool: PgPoolOptions::new().max_connections(4).connect_lazy_with(options) };
        patiently!(is_locked, publisher.create()).map_err(AirError::database("make the tables"))?;
        Ok(publisher)
    }

    async fn create(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        for statement in [ONE_AT_A_TIME, CREATE_REPORT, CREATE_INPUTS, CREATE_REPORTS] {
            execute(&mut transaction, statement).await?;
        }
        transaction.commit().await
    }

    /// Begins a transaction that gives up a lock that it does not get.
    async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let timeout = LOCK_TIMEOUT.as_millis();
        // Copying and indexing a large report takes its time, whatever is usual here.
        let settings = format!(
            "SET LOCAL lock_timeout = {timeout}; SET LOCAL statement_timeout = 0; SET LOCAL client_min_messages = warning"
        );
        execute(&mut transaction, &settings).await?;
        Ok(transaction)
    }

    /// Writes the stage tables, which nobody else sees before they are whole. Returns how many rows they have.
    async fn stage(&self, report: &Report, stages: &Stages) -> Result<[u64; 2], sqlx::Error> {
        let mut transaction = self.begin().await?;
        for (table, stage) in stages.each() {
            execute(&mut transaction, &format!("DROP TABLE IF EXISTS {stage}")).await?;
            execute(&mut transaction, &named(CREATE_STAGE, table, stage)).await?;
        }
        copy::rows(&mut transaction, &named(COPY, REPORT, &stages.report), report).await?;
        copy::inputs(&mut transaction, &named(COPY, INPUTS, &stages.inputs), &report.inputs).await?;
        execute(&mut transaction, &named(CREATE_INDEX, REPORT, &stages.report)).await?;
        let mut counts = [0; 2];
        for (count, (_, stage)) in counts.iter_mut().zip(stages.each()) {
            execute(&mut transaction, &format!("ANALYZE {stage}")).await?;
            let query = sqlx::query(AssertSqlSafe(format!("SELECT count(*) FROM {stage}"))).persistent(false);
            *count = query.fetch_one(&mut *transaction).await?.try_get::<i64, _>(0)? as u64;
        }
        transaction.commit().await?;
        Ok(counts)
    }

    /// Makes the stage the report. `Some` is the fence of a newer report that is live instead.
    async fn swap(&self, report: &Report, stages: &Stages) -> Result<Option<Fence>, sqlx::Error> {
        let mut transaction = self.begin().await?;
        execute(&mut transaction, LOCK_REPORTS).await?;
        let live = sqlx::query(LIVE).persistent(false).fetch_optional(&mut *transaction).await?;
        let live = live.map(|row| row.try_get::<i64, _>("fence")).transpose()?;
        if let Some(live) = live.filter(|live| *live > report.fence.0) {
            return Ok(Some(Fence(live)));
        }
        for (table, stage) in stages.each() {
            execute(&mut transaction, &named(SWAP, table, stage)).await?;
        }
        execute(&mut transaction, RETIRE).await?;
        sqlx::query(RECORD)
            .persistent(false)
            .bind(report.fence.0)
            .bind(report.as_of.as_micros())
            .bind(report.len() as i64)
            .bind(report.suppressed() as i64)
            .bind(report.inputs.len() as i64)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(None)
    }

    /// Drops stages of runs that died or came too late.
    async fn clean(&self, up_to: Fence) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        let tables = sqlx::query(LEFTOVERS).persistent(false).fetch_all(&mut *transaction).await?;
        for table in tables {
            let table: String = table.try_get(0)?;
            if fence_of(&table).is_some_and(|fence| fence <= up_to) {
                execute(&mut transaction, &format!("DROP TABLE {table}")).await?;
            }
        }
        transaction.commit().await
    }
}

#[async_trait]
impl Publisher for PgPublisher {
    async fn publish(&self, report: &Report) -> Result<(), AirError> {
        let stages = Stages::of(report.fence);
        let found =
            patiently!(is_locked, self.stage(report, &stages)).map_err(AirError::database("stage the report"))?;
        for (found, expected) in found.into_iter().zip([report.len(), report.inputs.len()]) {
            let expected = expected as u64;
            if found != expected {
                return Err(AirError::Staged { expected, found });
            }
        }
        let newer = patiently!(is_locked, self.swap(report, &stages)).map_err(AirError::database("swap the report in"));
        if let Err(error) = patiently!(is_locked, self.clean(report.fence)) {
            // The next report does it.
            tracing::warn!(error = &error as &dyn std::error::Error, "old report tables remain");
        }
        match newer? {
            Some(live) => Err(AirError::Superseded { live, mine: report.fence }),
            None => Ok(()),
        }
    }

    async fn live(&self) -> Result<Option<LiveReport>, AirError> {
        let read = async {
            let mut transaction = self.pool.begin().await?;
            let row = sqlx::query(LIVE).persistent(false).fetch_optional(&mut *transaction).await?;
            row.map(|row| rows::live_report(&row)).transpose()
        };
        read.await.map_err(AirError::database("read which report is live"))
    }

    fn show(&self, query: &ShowQuery) -> BoxStream<'static, Result<Row<String>, AirError>> {
        let rows = rows::read(self.pool.clone(), query.clone());
        rows.map_err(|error| AirError::database("read the report")(error)).boxed()
    }
}

/// Says nothing of the address, which holds a password.
impl std::fmt::Debug for PgPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgPublisher").finish_non_exhaustive()
    }
}

impl Stages {
    fn of(fence: Fence) -> Self {
        Self { report: format!("{REPORT}_stage_{fence}"), inputs: format!("{INPUTS}_stage_{fence}") }
    }

    /// Each table and its stage.
    fn each(&self) -> [(&'static str, &str); 2] {
        [(REPORT, &self.report), (INPUTS, &self.inputs)]
    }
}

/// A statement with the names of tables filled in. They are made of our own words and a number.
fn named(statement: &str, table: &str, stage: &str) -> String {
    statement.replace("{table}", table).replace("{stage}", stage)
}

/// Runs statements that take no values.
async fn execute(connection: &mut PgConnection, statements: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection).await.map(drop)
}

/// lock_not_available, and deadlock_detected.
fn is_locked(code: &str) -> bool {
    matches!(code, "55P03" | "40P01")
}
