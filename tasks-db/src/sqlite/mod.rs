//! The task database in one SQLite file: for one machine, any number of processes on it.
//!
//! Every write is a transaction that begins with `BEGIN IMMEDIATE`: a deferred one that reads first and writes later
//! fails at once where another process wrote in between, and no busy timeout helps it. One connection writes, a few
//! read, and each heart has its own.

mod claim;
mod claims;
mod connect;
mod cron;
mod declare;
mod end;
mod fault;
mod heart;
mod look;
mod operate;
mod read;
mod records;
mod register;
mod run;
mod streams;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use neartime_model::{Clock, Instant};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{SqliteConnection, Transaction};

use crate::{HeartSource, Result, TasksDb, TasksError};
use fault::{Step, doing};
use heart::SqliteHearts;

const NOW: &str = include_str!("../../queries/sqlite/now.sql");
const NEXT_NUMBER: &str = include_str!("../../queries/sqlite/next_number.sql");

/// Rows that one transaction changes at most where a call may touch the whole table, so that nobody waits long.
const PAGE: i64 = 5_000;

/// Which clock decides what is due or expired.
#[derive(Clone, Debug)]
pub enum DbClock {
    /// The database's own.
    Database,
    /// A given one, for tests without sleeping.
    Given(Arc<dyn Clock>),
}

/// Where the SQLite file is, and how it is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    path: PathBuf,
    db_clock: DbClock,
    machine_clock: Arc<dyn Clock>,
    allow_network_file_system: bool,
}

impl SqliteOptions {
    /// Names the file, which is made if need be (its directory is not). `machine_clock` is what fences are checked
    /// against.
    pub fn new(path: impl Into<PathBuf>, machine_clock: Arc<dyn Clock>) -> Self {
        Self { path: path.into(), db_clock: DbClock::Database, machine_clock, allow_network_file_system: false }
    }

    /// Reads `sqlite://neartime.db` (below `base`) or `sqlite:///var/lib/neartime.db`. Refused: any other URL, and one
    /// with parameters.
    pub fn from_url(url: &str, base: &Path, machine_clock: Arc<dyn Clock>) -> Result<Self> {
        let path = url.strip_prefix("sqlite://").filter(|path| !path.is_empty() && !path.contains(['?', '#']));
        let refusal = || {
            let example = "sqlite://neartime.db";
            TasksError::Refused(format!(
                "the task database's URL is not of the form `{example}`: correct tasks.database"
            ))
        };
        Ok(Self::new(base.join(path.ok_or_else(refusal)?), machine_clock))
    }

    /// Lets `clock` decide what is due or expired, and check fences.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.machine_clock = Arc::clone(&clock);
        self.db_clock = DbClock::Given(clock);
        self
    }

    /// Opens the file even on a network file system, where SQLite's locks cannot be trusted.
    #[must_use]
    pub fn allow_network_file_system(mut self) -> Self {
        self.allow_network_file_system = true;
        self
    }
}

/// The task database in a SQLite file.
#[derive(Debug)]
pub struct SqliteTasks {
    writer: SqlitePool,
    readers: SqlitePool,
    connect: SqliteConnectOptions,
    db_clock: DbClock,
    machine_clock: Arc<dyn Clock>,
}

impl SqliteTasks {
    /// Opens or makes the file and brings its tables up to date. Refused on a network file system, unavailable where
    /// the file cannot be opened.
    pub async fn open(options: &SqliteOptions) -> Result<Self> {
        if !options.allow_network_file_system {
            connect::refuse_network_file_system(&options.path)?;
        }
        let connect = connect::options(&options.path);
        let (writer, readers) = connect::pools(&connect).await.map_err(doing("open the SQLite file"))?;
        let db_clock = options.db_clock.clone();
        Ok(Self { writer, readers, connect, db_clock, machine_clock: Arc::clone(&options.machine_clock) })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.connect.get_filename()
    }

    /// Begins a transaction that may write.
    async fn write(&self) -> Step<Write> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let now = now(&self.db_clock, &mut tx).await?;
        Ok(Write { tx, now })
    }
}

/// A transaction that holds SQLite's write lock, and the one instant at which all in it happens.
struct Write {
    tx: Transaction<'static, sqlx::Sqlite>,
    now: Instant,
}

impl Write {
    fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }

    fn now_micros(&self) -> i64 {
        self.now.as_micros()
    }

    /// Counts one up in the table `numbers`.
    async fn next_number(&mut self, name: &str) -> Step<i64> {
        Ok(sqlx::query_scalar(NEXT_NUMBER).bind(name).fetch_one(self.conn()).await?)
    }

    async fn commit(self) -> Step<()> {
        Ok(self.tx.commit().await?)
    }
}

async fn now(clock: &DbClock, conn: &mut SqliteConnection) -> Step<Instant> {
    match clock {
        DbClock::Given(clock) => Ok(clock.now()),
        DbClock::Database => Ok(Instant::from_micros(sqlx::query_scalar(NOW).fetch_one(conn).await?)),
    }
}

#[async_trait]
impl TasksDb for SqliteTasks {
    async fn now(&self) -> Result<Instant> {
        let ask = async {
            let mut conn = self.readers.acquire().await?;
            now(&self.db_clock, &mut conn).await
        };
        ask.await.map_err(doing("ask the time"))
    }

    fn hearts(&self) -> Box<dyn HeartSource> {
        Box::new(SqliteHearts::new(self.connect.clone(), self.db_clock.clone()))
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[cfg(test)]
mod sharing;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
