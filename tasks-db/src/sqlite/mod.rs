//! The task database in one SQLite file: for one machine, any number of processes on it.
//!
//! Every write is a transaction that begins with `BEGIN IMMEDIATE`: a deferred one that reads first and writes later
//! fails at once where another process wrote in between, and no busy timeout helps it. One connection writes, a few
//! read, and each heart has its own.

mod connect;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use neartime_model::Clock;
use sqlx::ConnectOptions as _;
use sqlx::SqliteConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::tables::fault::{Step, doing};
use crate::tables::{DbClock, Tx};
use crate::{Result, TasksError};

/// Where the SQLite file is, and how it is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    path: PathBuf,
    db_clock: DbClock,
    pub(crate) machine_clock: Arc<dyn Clock>,
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

/// One connection that writes, and some that read.
#[derive(Debug)]
pub(crate) struct SqliteBackend {
    writer: SqlitePool,
    readers: SqlitePool,
    connect: SqliteConnectOptions,
    pub(crate) clock: DbClock,
}

impl SqliteBackend {
    pub(crate) async fn open(options: &SqliteOptions) -> Result<Self> {
        if !options.allow_network_file_system {
            connect::refuse_network_file_system(&options.path)?;
        }
        connect::refuse_missing_folder(&options.path)?;
        let connect = connect::options(&options.path);
        let (writer, readers) = connect::pools(&connect).await.map_err(doing("open the SQLite file"))?;
        Ok(Self { writer, readers, connect, clock: options.db_clock.clone() })
    }

    pub(crate) async fn write(&self) -> Step<Tx<'static>> {
        Ok(Tx::Sqlite(self.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    pub(crate) async fn read(&self) -> Step<Tx<'static>> {
        Ok(Tx::Sqlite(self.readers.begin().await?))
    }

    pub(crate) fn hearts(&self) -> SqliteHearts {
        SqliteHearts { connect: self.connect.clone(), clock: self.clock.clone() }
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Opens connections for heartbeats.
#[derive(Clone)]
pub(crate) struct SqliteHearts {
    connect: SqliteConnectOptions,
    pub(crate) clock: DbClock,
}

impl SqliteHearts {
    pub(crate) async fn connect(&self) -> Step<SqliteConnection> {
        Ok(self.connect.connect().await?)
    }
}

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
