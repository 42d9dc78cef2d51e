//! How a failure inside a transaction becomes an error that says what was attempted.

use std::error::Error;

use neartime_connect::sqlite::{is_busy, primary_code};

use crate::TasksError;

/// A failure on the way: of the database, or one that is ready to be told.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(sqlx::Error),
    Told(TasksError),
    /// No answer in time.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "a file always answers"))]
    Late,
}

/// What a step of a transaction gives.
pub(crate) type Step<T> = Result<T, Fault>;

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<TasksError> for Fault {
    fn from(error: TasksError) -> Self {
        Self::Told(error)
    }
}

impl Fault {
    /// Whether another transaction was in the way: nothing was changed, and it may work at once.
    pub(crate) fn is_conflict(&self) -> bool {
        /// serialization_failure, deadlock_detected, lock_not_available.
        const CONFLICTS: [&str; 3] = ["40001", "40P01", "55P03"];
        matches!(self, Self::Sql(error) if sql_state(error).is_some_and(|state| CONFLICTS.contains(&&*state)))
    }

    /// Whether the connection broke, so that nobody knows what was changed.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Io(_)) => true,
            // The server is told to stop, its neighbour crashed, or the transaction lay idle for too long.
            Self::Sql(error) => sql_state(error).is_some_and(|state| state.starts_with("57P0") || state == "25P03"),
            Self::Told(_) | Self::Late => false,
        }
    }
}

/// Stored text that is none of what its column may hold.
pub(crate) fn damaged(error: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
    Fault::Sql(sqlx::Error::Decode(error.into()))
}

/// Names what was attempted when a step failed.
pub(crate) fn doing(what: &'static str) -> impl FnOnce(Fault) -> TasksError {
    move |fault| match fault {
        Fault::Told(error) => error,
        Fault::Late => TasksError::Unavailable { doing: what, source: "the server gave no answer in time".into() },
        Fault::Sql(source) if is_busy(&source) => TasksError::Locked { doing: what, source: Box::new(source) },
        Fault::Sql(source) if is_damage(&source) => TasksError::Broken { doing: what, source: Box::new(source) },
        Fault::Sql(source) => TasksError::Unavailable { doing: what, source: Box::new(source) },
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Postgres' five letters and digits; SQLite's codes are shorter.
pub(crate) fn sql_state(error: &sqlx::Error) -> Option<String> {
    code(error).filter(|code| code.len() == 5)
}

/// Whether waiting cannot help: the statement or the stored data is wrong. Busy, locked, full and I/O errors heal, and so
/// do a server that is away, full, or does not let us in.
fn is_damage(error: &sqlx::Error) -> bool {
    /// SQLITE_ERROR, SQLITE_CORRUPT, SQLITE_SCHEMA, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE, SQLITE_NOTADB.
    const DAMAGE: [u32; 7] = [1, 11, 17, 19, 20, 25, 26];
    /// Classes of SQLSTATE: no data, data exception, integrity, invalid state of a transaction, syntax error or access
    /// rule, internal error.
    const DAMAGE_CLASSES: [&str; 6] = ["02", "22", "23", "25", "42", "XX"];
    /// insufficient_privilege: whoever runs the server can grant it; read_only_sql_transaction: a standby, for now;
    /// idle_in_transaction_session_timeout.
    const REFUSED: [&str; 3] = ["42501", "25006", "25P03"];
    match error {
        sqlx::Error::Database(_) => match sql_state(error) {
            Some(state) => DAMAGE_CLASSES.contains(&&state[..2]) && !REFUSED.contains(&&*state),
            None => primary_code(error).is_some_and(|code| DAMAGE.contains(&code)),
        },
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::RowNotFound => true,
        _ => false,
    }
}
