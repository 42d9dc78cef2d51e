//! Opening the file, and bringing its tables up to date.

use std::path::Path;
use std::time::Duration;

use neartime_connect::sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::tables::fault::{Fault, Step};
use crate::{Result, TasksError};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS: u32 = 4;

/// How long a call waits for its turn at the one writing connection.
const TURN_TIMEOUT: Duration = Duration::from_secs(60);

/// What brings the tables from one version (`PRAGMA user_version`) to the next.
///
/// **Invariant:** a migration only adds, so that during a rolling upgrade the older binary works on the newer tables.
const MIGRATIONS: [&str; 2] =
    [include_str!("../../migrations/sqlite/0001_tasks.sql"), include_str!("../../migrations/sqlite/0002_streams.sql")];

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    sqlite::options(path, BUSY_TIMEOUT).foreign_keys(true)
}

/// The pool of the one writer and that of the readers, tables up to date.
pub(super) async fn pools(options: &SqliteConnectOptions) -> Step<(SqlitePool, SqlitePool)> {
    let is_busy = |fault: &Fault| matches!(fault, Fault::Sql(error) if sqlite::is_busy(error));
    sqlite::open_patiently(BUSY_TIMEOUT, is_busy, || try_pools(options)).await
}

async fn try_pools(options: &SqliteConnectOptions) -> Step<(SqlitePool, SqlitePool)> {
    let mut first = options.clone().connect().await?;
    migrate(&mut first).await?;
    let (writer, readers) = (pool(1), pool(READERS));
    let (writer, readers) = tokio::try_join!(
        writer.connect_with(options.clone()),
        readers.connect_with(options.clone().pragma("query_only", "ON")),
    )?;
    // Only now: the last connection that closes would bring the file up to date and remove its log.
    first.close().await?;
    Ok((writer, readers))
}

fn pool(connections: u32) -> SqlitePoolOptions {
    sqlite::pool(connections)
        .acquire_timeout(TURN_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// All in one transaction, so that of two processes that start at once one migrates and the other finds it done.
async fn migrate(conn: &mut SqliteConnection) -> Step<()> {
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let done: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await?;
    let done = usize::try_from(done).unwrap_or(0);
    if done > MIGRATIONS.len() {
        tracing::warn!(found = done, known = MIGRATIONS.len(), "task database was made by a newer release");
    }
    for (at, script) in MIGRATIONS.iter().enumerate().skip(done) {
        sqlx::raw_sql(*script).execute(&mut *tx).await?;
        let version = format!("PRAGMA user_version = {}", at + 1);
        sqlx::raw_sql(sqlx::AssertSqlSafe(version)).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

/// SQLite makes the file, but no directory: its own words would not tell.
pub(super) fn refuse_missing_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    folder.map_or(Ok(()), |folder| {
        let source = format!("its directory {} is not there: make it", folder.display()).into();
        Err(TasksError::Unavailable { doing: "open the SQLite file", source })
    })
}

pub(super) fn refuse_network_file_system(path: &Path) -> Result<()> {
    let refused = |found| TasksError::Refused(format!("the task database {found}, or use postgres://"));
    sqlite::refuse_network_file_system(path).map_err(refused)
}
