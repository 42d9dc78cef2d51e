//! The task database on a Postgres server: for a fleet.
//!
//! Nothing here outlives a transaction (no session locks, no LISTEN), so that a pooler may stand in between. A server can
//! also just stop answering: statements have a deadline on the server, and calls have one here.

mod migrate;
mod options;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use crate::tables::fault::{Fault, Step, doing};
use crate::tables::session::Call;
use crate::tables::{DbClock, Tx};
use crate::{Result, TasksError};
pub use options::PostgresOptions;

/// What every connection has set. A statement that runs longer is cancelled; one that waits longer for a lock fails and
/// is tried again. To compile a statement takes longer than to run any of ours.
const SETTINGS: [(&str, &str); 4] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "1min"),
    ("jit", "off"),
];

/// How long a call may take in all, and how long a heartbeat: shorter than a lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const HEART_TIMEOUT: Duration = Duration::from_secs(10);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a call waits for a connection.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that lay idle for so long is tried before it is used.
const TRUSTED: Duration = Duration::from_secs(1);

/// Connections to one server.
#[derive(Debug)]
pub(crate) struct PostgresBackend {
    pool: PgPool,
    /// A call ran out of time, so connections may be half open: each is tried when it comes back.
    suspects: Arc<AtomicBool>,
    hearts: PostgresHearts,
    pub(crate) clock: DbClock,
}

/// Why the first connection was not made, with the address that was tried.
fn unreached(options: &PostgresOptions, fault: Fault) -> TasksError {
    match doing("connect to the Postgres server")(fault) {
        TasksError::Unavailable { source, .. } => TasksError::Unreachable { address: options.address(), source },
        other => other,
    }
}

impl PostgresBackend {
    pub(crate) async fn connect(options: &PostgresOptions) -> Result<Self> {
        let begin = Begin::new(options);
        let hearts = PostgresHearts { connect: options.connect.clone(), begin, clock: options.db_clock.clone() };
        // Not from the pool: that hides why it gets none.
        let mut first = hearts.connect().await.map_err(|fault| unreached(options, fault))?;
        migrate::migrate(&mut first, options).await.map_err(doing("bring the tables up to date"))?;
        let closed = first.close().await.map_err(Fault::from);
        closed.map_err(doing("close a connection to the Postgres server"))?;
        let suspects = Arc::new(AtomicBool::new(false));
        let pool = pool(options, Arc::clone(&suspects));
        Ok(Self { pool, suspects, hearts, clock: options.db_clock.clone() })
    }

    pub(crate) async fn write(&self) -> Step<Tx<'static>> {
        Ok(Tx::Postgres(self.begin(&self.hearts.begin.write).await?, !self.hearts.begin.pooled))
    }

    pub(crate) async fn read(&self) -> Step<Tx<'static>> {
        Ok(Tx::Postgres(self.begin(&self.hearts.begin.read).await?, !self.hearts.begin.pooled))
    }

    /// Runs a statement that is a transaction by itself, and gives its one row. Behind a pooler it needs a begin and an end,
    /// so that its preparation and its execution meet the same server.
    pub(crate) async fn row(&self, call: Call) -> Step<PgRow> {
        if !self.hearts.begin.pooled {
            return call.postgres_row(&mut *self.pool.acquire().await?, true).await;
        }
        let mut tx = self.begin(&self.hearts.begin.write).await?;
        let row = call.postgres_row(&mut tx, false).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// A connection that broke while it lay in the pool is replaced: nothing has begun.
    async fn begin(&self, statement: &str) -> Step<Transaction<'static, Postgres>> {
        for _ in 0..self.pool.size() {
            match self.pool.begin_with(AssertSqlSafe(statement.to_owned())).await.map_err(Fault::from) {
                Err(fault) if fault.is_loss() => {}
                begun => return begun,
            }
        }
        Ok(self.pool.begin_with(AssertSqlSafe(statement.to_owned())).await?)
    }

    /// Gives a call its time.
    pub(crate) async fn in_time<T>(&self, call: impl Future<Output = Step<T>>) -> Step<T> {
        let mut call = pin!(call);
        let ended = tokio::time::timeout(CALL_TIMEOUT, &mut call).await;
        ended.unwrap_or_else(|_| {
            // Before the call lets go of its connection.
            self.suspects.store(true, Ordering::Release);
            Err(Fault::Late)
        })
    }

    pub(crate) fn hearts(&self) -> PostgresHearts {
        self.hearts.clone()
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// How transactions begin.
#[derive(Clone, Debug)]
struct Begin {
    /// Behind a pooler: each transaction makes its own settings, and nothing outlives it.
    pooled: bool,
    write: String,
    read: String,
}

impl Begin {
    fn new(options: &PostgresOptions) -> Self {
        let mut settings = String::new();
        if options.pooled {
            for (name, value) in SETTINGS {
                settings.push_str(&format!("; SET LOCAL {name} = '{value}'"));
            }
            if let Some(schema) = &options.schema {
                settings.push_str(&format!("; SET LOCAL search_path = {schema}"));
            }
        }
        Self {
            pooled: options.pooled,
            write: format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE{settings}"),
            read: format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{settings}"),
        }
    }
}

fn pool(options: &PostgresOptions, suspects: Arc<AtomicBool>) -> PgPool {
    PgPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(TURN_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move { if meta.idle_for < TRUSTED { Ok(true) } else { answers(conn).await } })
        })
        .after_release(move |conn, _| {
            let suspects = Arc::clone(&suspects);
            Box::pin(async move {
                // The pool would wait for ever for a connection that answers no more.
                if suspects.load(Ordering::Acquire) { answers(conn).await } else { Ok(true) }
            })
        })
        .connect_lazy_with(options.connect.clone())
}

async fn answers(conn: &mut PgConnection) -> sqlx::Result<bool> {
    match tokio::time::timeout(CONNECT_TIMEOUT, conn.ping()).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Gives a heartbeat its time.
pub(crate) async fn in_time_for_hearts<T>(beat: impl Future<Output = Step<T>>) -> Step<T> {
    tokio::time::timeout(HEART_TIMEOUT, beat).await.unwrap_or(Err(Fault::Late))
}

/// Opens connections for heartbeats.
#[derive(Clone, Debug)]
pub(crate) struct PostgresHearts {
    connect: PgConnectOptions,
    begin: Begin,
    pub(crate) clock: DbClock,
}

impl PostgresHearts {
    pub(crate) async fn connect(&self) -> Step<PgConnection> {
        let connect = PgConnection::connect_with(&self.connect);
        Ok(tokio::time::timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| Fault::Late)??)
    }

    pub(crate) async fn begin<'c>(&self, conn: &'c mut PgConnection) -> Step<Tx<'c>> {
        let tx = conn.begin_with(AssertSqlSafe(self.begin.write.clone())).await?;
        Ok(Tx::Postgres(tx, !self.begin.pooled))
    }
}

#[cfg(test)]
mod tests;
