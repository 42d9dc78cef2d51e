//! Opening the file, and bringing its tables up to date.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::tables::fault::{Fault, Step, is_busy};
use crate::{Result, TasksError};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(20);
const READERS: u32 = 4;

/// How long a call waits for its turn at the one writing connection.
const TURN_TIMEOUT: Duration = Duration::from_secs(60);

/// What brings the tables from one version (`PRAGMA user_version`) to the next.
///
/// **Invariant:** a migration only adds, so that during a rolling upgrade the older binary works on the newer tables.
const MIGRATIONS: [&str; 2] =
    [include_str!("../../migrations/sqlite/0001_tasks.sql"), include_str!("../../migrations/sqlite/0002_streams.sql")];

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode NORMAL can lose the last commits at a power loss: acknowledged files would be gone.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .disable_statement_logging()
}

/// The pool of the one writer and that of the readers, tables up to date.
///
/// Processes that start at once on a new file meet while it changes to WAL, where SQLite heeds no busy timeout.
pub(super) async fn pools(options: &SqliteConnectOptions) -> Step<(SqlitePool, SqlitePool)> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match try_pools(options).await {
            Err(Fault::Sql(error)) if is_busy(&error) && Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            opened => return opened,
        }
    }
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
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(TURN_TIMEOUT)
        .test_before_acquire(false)
        // Where the disk is full SQLite ends the transaction by itself, and sqlx counts it as open ever after.
        .before_acquire(|conn, _| Box::pin(async { Ok(!conn.is_in_transaction()) }))
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

/// SQLite's locks do not hold across machines, and on some network file systems not even on one.
pub(super) fn refuse_network_file_system(path: &Path) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match network_file_system(directory) {
        Some(name) => Err(TasksError::Refused(format!(
            "the task database {} lies on a network file system ({name}), where SQLite can be damaged: \
             put it on a local disk, or use postgres://",
            path.display()
        ))),
        None => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn network_file_system(directory: &Path) -> Option<&'static str> {
    // A directory that is not there fails with a better message when the file is opened.
    let found = rustix::fs::statfs(directory).ok()?.f_type;
    // The kernel's word is signed on some machines; the magic numbers are 32 bits.
    network_name((found as u64) & 0xffff_ffff)
}

/// The numbers of linux/magic.h and statfs(2).
#[cfg(target_os = "linux")]
fn network_name(magic: u64) -> Option<&'static str> {
    const NAMES: [(u64, &str); 11] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x564c, "NCP"),
        (0x5346_414f, "AFS"),
        (0x7375_7245, "Coda"),
        (0x00c3_6400, "Ceph"),
        (0x0bd0_0bd0, "Lustre"),
        (0x4750_4653, "GPFS"),
        (0x1983_0326, "BeeGFS"),
    ];
    NAMES.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_directory: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn network_file_systems_are_told_by_their_number() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xff53_4d42), Some("CIFS"));
        assert_eq!(network_name(0xef53), None, "ext4");
        assert_eq!(network_file_system(Path::new("/proc")), None);
        refuse_network_file_system(Path::new("tasks.db")).unwrap();
    }
}
