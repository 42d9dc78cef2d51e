//! Reports in a SQLite file.
//!
//! The swap renames two pairs of tables and notes the report in one transaction; SQLite's readers keep what they saw
//! until their own statement or transaction ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use neartime_connect::sqlite;
use neartime_model::{Fence, Instant};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, SqlitePool};

use super::patience::{LOCK_TIMEOUT, patiently};
use super::{LiveReport, Publisher, ShowQuery, Sort, fence_of};
use crate::error::AirError;
use crate::report::{Report, ReportInput, Row};

const CREATE_REPORT: &str = include_str!("../../queries/sqlite/create_report.sql");
const CREATE_INPUTS: &str = include_str!("../../queries/sqlite/create_inputs.sql");
const CREATE_REPORTS: &str = include_str!("../../queries/sqlite/create_reports.sql");
const LIVE: &str = include_str!("../../queries/sqlite/live.sql");
const RECORD: &str = include_str!("../../queries/sqlite/record.sql");
const RETIRE: &str = include_str!("../../queries/sqlite/retire.sql");
const LEFTOVERS: &str = include_str!("../../queries/sqlite/leftovers.sql");
const SHOW: &str = include_str!("../../queries/sqlite/show.sql");

const REPORT: &str = "air_report";
const INPUTS: &str = "air_report_inputs";

/// Rows of one INSERT: SQLite binds at most 32,766 values.
const ROWS: usize = 500;

/// How long the file is tried that another process is just making.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// INSERTs of one transaction while a report is staged.
const STATEMENTS: usize = 20;

/// A SQLite file with the report.
#[derive(Clone, Debug)]
pub struct SqlitePublisher {
    path: PathBuf,
    pool: SqlitePool,
}

impl SqlitePublisher {
    /// Opens the file, which is made if need be, and makes empty tables where there are none.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, AirError> {
        let path = path.into();
        let refused = |found| AirError::Invalid(format!("air: `database` {found}, or use postgres://"));
        sqlite::refuse_network_file_system(&path).map_err(refused)?;
        // Else a view on the report would follow the old table when that is renamed.
        let options = sqlite::options(&path, LOCK_TIMEOUT).pragma("legacy_alter_table", "ON");
        let open = || sqlite::pool(4).connect_with(options.clone());
        let pool = sqlite::open_patiently(OPEN_PATIENCE, sqlite::is_busy, open).await;
        let publisher = Self { pool: pool.map_err(AirError::database("open the tables"))?, path };
        patiently!(is_locked, publisher.create()).map_err(AirError::database("make the tables"))?;
        Ok(publisher)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn create(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for (statement, table) in [(CREATE_REPORT, REPORT), (CREATE_INPUTS, INPUTS), (CREATE_REPORTS, "")] {
            execute(&mut transaction, statement, table).await?;
        }
        transaction.commit().await
    }

    /// Writes the stage tables, which nobody reads, in transactions so short that other writers of the file get in.
    async fn stage(&self, report: &Report, stage: &str, inputs: &str) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for (create, table) in [(CREATE_REPORT, stage), (CREATE_INPUTS, inputs)] {
            execute(&mut transaction, "DROP TABLE IF EXISTS {table}", table).await?;
            execute(&mut transaction, create, table).await?;
        }
        transaction.commit().await?;
        let mut rows = report.rows().peekable();
        while rows.peek().is_some() {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            for _ in 0..STATEMENTS {
                insert_rows(&mut transaction, stage, rows.by_ref().take(ROWS).collect()).await?;
            }
            transaction.commit().await?;
        }
        for some in report.inputs.chunks(STATEMENTS * ROWS) {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            for some in some.chunks(ROWS) {
                insert_inputs(&mut transaction, inputs, some).await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Makes the stage the report. `Some` is the fence of a newer report that is live instead.
    async fn swap(&self, report: &Report, stage: &str, inputs: &str) -> Result<Option<Fence>, sqlx::Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let live: Option<i64> = sqlx::query(LIVE).fetch_optional(&mut *transaction).await?.map(|row| row.get(0));
        if let Some(live) = live.filter(|live| *live > report.fence.0) {
            return Ok(Some(Fence(live)));
        }
        for (table, stage) in [(REPORT, stage), (INPUTS, inputs)] {
            let old = format!("{table}_old_{}", report.fence);
            execute(&mut transaction, &format!("DROP TABLE IF EXISTS {old}"), "").await?;
            execute(&mut transaction, &format!("ALTER TABLE {table} RENAME TO {old}"), "").await?;
            execute(&mut transaction, &format!("ALTER TABLE {stage} RENAME TO {table}"), "").await?;
        }
        sqlx::query(RETIRE).execute(&mut *transaction).await?;
        sqlx::query(RECORD)
            .bind(report.fence.0)
            .bind(report.as_of.to_string())
            .bind(report.len() as i64)
            .bind(report.suppressed() as i64)
            .bind(report.inputs.len() as i64)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(None)
    }

    /// Drops what was replaced, and stages of runs that died or came too late.
    async fn clean(&self, up_to: Fence) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let tables: Vec<String> =
            sqlx::query(LEFTOVERS).fetch_all(&mut *transaction).await?.iter().map(|row| row.get(0)).collect();
        for table in tables {
            if fence_of(&table).is_some_and(|fence| fence <= up_to) {
                execute(&mut transaction, "DROP TABLE {table}", &table).await?;
            }
        }
        transaction.commit().await
    }
}

#[async_trait]
impl Publisher for SqlitePublisher {
    async fn publish(&self, report: &Report) -> Result<(), AirError> {
        let stage = format!("{REPORT}_stage_{}", report.fence);
        let inputs = format!("{INPUTS}_stage_{}", report.fence);
        patiently!(is_locked, self.stage(report, &stage, &inputs)).map_err(AirError::database("stage the report"))?;
        for (table, expected) in [(&stage, report.len()), (&inputs, report.inputs.len())] {
            let count = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
            let found: i64 = count.fetch_one(&self.pool).await.map_err(AirError::database("count the staged rows"))?;
            if found as u64 != expected as u64 {
                return Err(AirError::Staged { expected: expected as u64, found: found as u64 });
            }
        }
        let newer = patiently!(is_locked, self.swap(report, &stage, &inputs))
            .map_err(AirError::database("swap the report in"))?;
        if let Err(error) = patiently!(is_locked, self.clean(report.fence)) {
            // The next report does it.
            tracing::warn!(error = &error as &dyn std::error::Error, "old report tables remain");
        }
        match newer {
            Some(live) => Err(AirError::Superseded { live, mine: report.fence }),
            None => Ok(()),
        }
    }

    async fn live(&self) -> Result<Option<LiveReport>, AirError> {
        let error = AirError::database("read which report is live");
        let row = sqlx::query(LIVE).fetch_optional(&self.pool).await;
        row.and_then(|row| row.map(|row| live_report(&row)).transpose()).map_err(error)
    }

    fn show(&self, query: &ShowQuery) -> BoxStream<'static, Result<Row<String>, AirError>> {
        let rows = read_rows(self.pool.clone(), query.clone());
        rows.map_err(|error| AirError::database("read the report")(error)).boxed()
    }
}

/// The rows, through a channel: the statement borrows the pool that this task owns.
fn read_rows(
    pool: SqlitePool,
    query: ShowQuery,
) -> impl futures::Stream<Item = Result<Row<String>, sqlx::Error>> + Send {
    let (sender, receiver) = tokio::sync::mpsc::channel(256);
    tokio::spawn(async move {
        let mut rows = sqlx::query(SHOW)
            .bind(query.site)
            .bind(query.group)
            .bind(query.min_users)
            .bind(query.sort.map(Sort::name))
            .bind(query.limit.map_or(-1, i64::from))
            .fetch(&pool);
        while let Some(row) = rows.next().await {
            if sender.send(row.and_then(|row| report_row(&row))).await.is_err() {
                break;
            }
        }
    });
    futures::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|row| (row, receiver)))
}

fn report_row(row: &SqliteRow) -> Result<Row<String>, sqlx::Error> {
    Ok(Row {
        site: row.try_get("site")?,
        site_name: row.try_get("site_name")?,
        segment: row.try_get("segment")?,
        segment_name: row.try_get("segment_name")?,
        segment_group: row.try_get("segment_group")?,
        segment_users: row.try_get("segment_users")?,
        group_users: row.try_get("group_users")?,
        segment_site_users: row.try_get("segment_site_users")?,
        group_site_users: row.try_get("group_site_users")?,
        index_value: row.try_get("index_value")?,
        z_score: row.try_get("z_score")?,
        index_low: row.try_get("index_low")?,
        index_high: row.try_get("index_high")?,
        significant: row.try_get("significant")?,
        suppressed: row.try_get("suppressed")?,
    })
}

fn live_report(row: &SqliteRow) -> Result<LiveReport, sqlx::Error> {
    let instant = |column: &str| -> Result<Instant, sqlx::Error> {
        row.try_get::<String, _>(column)?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
    };
    let number = |column: &str| row.try_get::<i64, _>(column).map(|number| number as u64);
    Ok(LiveReport {
        fence: Fence(row.try_get("fence")?),
        as_of: instant("as_of")?,
        row_count: number("row_count")?,
        suppressed: number("suppressed")?,
        input_files: number("input_files")?,
        published_at: instant("published_at")?,
    })
}

/// Runs a statement with the name of a table filled in. Names are made of our own words and a number.
async fn execute(connection: &mut SqliteConnection, statement: &str, table: &str) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement.replace("{table}", table))).execute(connection).await.map(drop)
}

async fn insert_rows(connection: &mut SqliteConnection, table: &str, rows: Vec<Row<&str>>) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let values = vec!["(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"; rows.len()].join(",");
    let mut insert = sqlx::query(AssertSqlSafe(format!("INSERT INTO {table} VALUES {values}")));
    for row in rows {
        insert = insert
            .bind(row.site.to_owned())
            .bind(row.site_name.map(str::to_owned))
            .bind(row.segment.to_owned())
            .bind(row.segment_name.map(str::to_owned))
            .bind(row.segment_group.to_owned())
            .bind(row.segment_users)
            .bind(row.group_users)
            .bind(row.segment_site_users)
            .bind(row.group_site_users)
            .bind(row.index_value)
            .bind(row.z_score)
            .bind(row.index_low)
            .bind(row.index_high)
            .bind(row.significant)
            .bind(row.suppressed);
    }
    insert.execute(connection).await.map(drop)
}

async fn insert_inputs(
    connection: &mut SqliteConnection,
    table: &str,
    inputs: &[ReportInput],
) -> Result<(), sqlx::Error> {
    let values = vec!["(?,?,?,?)"; inputs.len()].join(",");
    let mut insert = sqlx::query(AssertSqlSafe(format!("INSERT INTO {table} VALUES {values}")));
    for ReportInput { feature, path, order } in inputs {
        insert = insert.bind(feature.to_string()).bind(path.clone()).bind(order.version.0).bind(order.generation.0);
    }
    insert.execute(connection).await.map(drop)
}

/// SQLITE_BUSY (5) and SQLITE_LOCKED (6), with their extended codes.
fn is_locked(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xFF, 5 | 6))
}
