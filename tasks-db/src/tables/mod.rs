//! The task database, written once for SQLite and Postgres.
//!
//! Every write is one transaction in which the rows that it depends on cannot change: in SQLite it holds the one write
//! lock, in Postgres it locks those rows. There, whoever locks several tasks does so in order of their numbers, and
//! runs, files and quarantine of a task are touched only by who has locked it.

mod claim;
mod claims;
mod cron;
mod declare;
mod end;
pub(crate) mod fault;
mod heart;
mod look;
mod operate;
#[cfg(feature = "postgres")]
mod race;
mod read;
mod records;
mod register;
mod run;
pub(crate) mod session;
#[cfg(test)]
pub(crate) mod sharing;
mod streams;
#[cfg(test)]
mod twins;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use neartime_model::{Clock, Instant};
use sqlx::{Sqlite, Transaction};

#[cfg(feature = "postgres")]
use crate::postgres::{PostgresBackend, PostgresOptions};
use crate::sqlite::{SqliteBackend, SqliteOptions};
use crate::{HeartSource, Result, TasksDb};
use fault::{Fault, Step, doing};
use heart::Hearts;
use session::{Call, Session, Statement, statement};

const NOW: Statement = statement!("now");

/// Rows that one transaction changes at most where a call may touch the whole table, so that nobody waits long.
const PAGE: i64 = 5_000;

/// How often a call is tried that others were in the way of, or whose answer was lost.
const TRIES: u32 = 6;

/// Which clock decides what is due or expired.
#[derive(Clone, Debug)]
pub enum DbClock {
    /// The database's own.
    Database,
    /// A given one, for tests without sleeping.
    Given(Arc<dyn Clock>),
}

/// The task database, in a SQLite file or on a Postgres server.
#[derive(Debug)]
pub struct Tasks {
    backend: Backend,
    machine_clock: Arc<dyn Clock>,
}

/// Where the tables are.
#[derive(Debug)]
pub(crate) enum Backend {
    Sqlite(SqliteBackend),
    #[cfg(feature = "postgres")]
    Postgres(PostgresBackend),
}

impl Tasks {
    /// Opens or makes a SQLite file and brings its tables up to date. Refused on a network file system, unavailable
    /// where the file cannot be opened.
    pub async fn open(options: &SqliteOptions) -> Result<Self> {
        let backend = Backend::Sqlite(SqliteBackend::open(options).await?);
        Ok(Self { backend, machine_clock: Arc::clone(&options.machine_clock) })
    }

    /// Connects to a Postgres server and brings the tables up to date. Unavailable where the server is away or does not
    /// let us in, refused where its tables are not those of this program.
    #[cfg(feature = "postgres")]
    pub async fn connect(options: &PostgresOptions) -> Result<Self> {
        let backend = Backend::Postgres(PostgresBackend::connect(options).await?);
        Ok(Self { backend, machine_clock: Arc::clone(&options.machine_clock) })
    }

    /// Begins a transaction that may write.
    async fn write(&self) -> Step<Write> {
        let (mut tx, clock) = match &self.backend {
            Backend::Sqlite(backend) => (backend.write().await?, &backend.clock),
            #[cfg(feature = "postgres")]
            Backend::Postgres(backend) => (backend.write().await?, &backend.clock),
        };
        let now = now(clock, tx.session()).await?;
        Ok(Write { tx, now })
    }

    /// Begins a transaction that only reads: all of it sees the same moment.
    async fn read(&self) -> Step<Tx<'static>> {
        match &self.backend {
            Backend::Sqlite(backend) => backend.read().await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(backend) => backend.read().await,
        }
    }

    /// The SQLite file behind it, for tests that look below the traits.
    #[cfg(test)]
    pub(crate) fn sqlite(&self) -> &SqliteBackend {
        match &self.backend {
            Backend::Sqlite(backend) => backend,
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => panic!("a SQLite file"),
        }
    }

    /// The connections to the server, for tests that look below the traits.
    #[cfg(all(test, feature = "postgres"))]
    pub(crate) fn postgres(&self) -> &PostgresBackend {
        match &self.backend {
            Backend::Postgres(backend) => backend,
            Backend::Sqlite(_) => panic!("a Postgres server"),
        }
    }

    fn db_clock(&self) -> &DbClock {
        match &self.backend {
            Backend::Sqlite(backend) => &backend.clock,
            #[cfg(feature = "postgres")]
            Backend::Postgres(backend) => &backend.clock,
        }
    }

    /// Runs a call that must not be repeated when its outcome is unknown.
    async fn once<T, F: Future<Output = Step<T>>>(&self, what: &'static str, call: impl Fn() -> F) -> Result<T> {
        self.attempt(what, call, Fault::is_conflict).await
    }

    /// Runs a call that may be repeated: one that reads, or that finds out by itself that it was done before.
    async fn again<T, F: Future<Output = Step<T>>>(&self, what: &'static str, call: impl Fn() -> F) -> Result<T> {
        self.attempt(what, call, |fault| fault.is_conflict() || fault.is_loss()).await
    }

    /// Calls until it works, or fails in a way that trying again does not help.
    async fn attempt<T, F: Future<Output = Step<T>>>(
        &self,
        what: &'static str,
        call: impl Fn() -> F,
        helps: fn(&Fault) -> bool,
    ) -> Result<T> {
        let mut pause = Duration::from_millis(5);
        for _ in 1..TRIES {
            match self.backend.in_time(call()).await {
                Err(fault) if helps(&fault) => tokio::time::sleep(pause).await,
                ended => return ended.map_err(doing(what)),
            }
            pause *= 3;
        }
        self.backend.in_time(call()).await.map_err(doing(what))
    }
}

impl Backend {
    /// SQLite's own timeouts are enough; a connection to a server can be half open for ever.
    async fn in_time<T>(&self, call: impl Future<Output = Step<T>>) -> Step<T> {
        match self {
            Self::Sqlite(_) => call.await,
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => server.in_time(call).await,
        }
    }
}

/// A transaction, whichever database it is of. Dropped, it has changed nothing.
pub(crate) enum Tx<'c> {
    Sqlite(Transaction<'c, Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Transaction<'c, sqlx::Postgres>, session::Remember),
}

impl Tx<'_> {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(tx) => Session::Sqlite(tx),
            #[cfg(feature = "postgres")]
            Self::Postgres(tx, remember) => Session::Postgres(tx, *remember),
        }
    }

    pub(crate) async fn commit(self) -> Step<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            #[cfg(feature = "postgres")]
            Self::Postgres(tx, _) => tx.commit().await?,
        }
        Ok(())
    }
}

/// A transaction that may write, and the one instant at which all in it happens.
struct Write {
    tx: Tx<'static>,
    now: Instant,
}

impl Write {
    fn conn(&mut self) -> Session<'_> {
        self.tx.session()
    }

    fn now_micros(&self) -> i64 {
        self.now.as_micros()
    }

    /// Takes locks that only Postgres needs: SQLite has one writer.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "nothing to lock"))]
    async fn lock(&mut self, call: Call) -> Step<()> {
        match &self.tx {
            Tx::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Tx::Postgres(..) => call.run(self.conn()).await,
        }
    }

    async fn commit(self) -> Step<()> {
        self.tx.commit().await
    }
}

pub(crate) async fn now(clock: &DbClock, session: Session<'_>) -> Step<Instant> {
    match clock {
        DbClock::Given(clock) => Ok(clock.now()),
        DbClock::Database => {
            let (micros,): (i64,) = NOW.call().one(session).await?;
            Ok(Instant::from_micros(micros))
        }
    }
}

#[async_trait]
impl TasksDb for Tasks {
    async fn now(&self) -> Result<Instant> {
        let ask = async || now(self.db_clock(), self.read().await?.session()).await;
        self.again("ask the time", ask).await
    }

    fn hearts(&self) -> Box<dyn HeartSource> {
        match &self.backend {
            Backend::Sqlite(backend) => Box::new(Hearts::Sqlite(backend.hearts())),
            #[cfg(feature = "postgres")]
            Backend::Postgres(backend) => Box::new(Hearts::Postgres(backend.hearts())),
        }
    }

    async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(backend) => backend.close().await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(backend) => backend.close().await,
        }
    }
}
