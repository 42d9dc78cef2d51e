//! How a failure inside a transaction becomes an error that says what was attempted.

use std::error::Error;

use crate::TasksError;

/// A failure on the way: of the database, or one that is ready to be told.
#[derive(Debug)]
pub(super) enum Fault {
    Sql(sqlx::Error),
    Told(TasksError),
}

/// What a step of a transaction gives.
pub(super) type Step<T> = Result<T, Fault>;

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

/// Stored text that is none of what its column may hold.
pub(super) fn damaged(error: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
    Fault::Sql(sqlx::Error::Decode(error.into()))
}

/// Names what was attempted when a step failed.
pub(super) fn doing(what: &'static str) -> impl FnOnce(Fault) -> TasksError {
    move |fault| match fault {
        Fault::Told(error) => error,
        Fault::Sql(source) if is_damage(&source) => TasksError::Broken { doing: what, source: Box::new(source) },
        Fault::Sql(source) => TasksError::Unavailable { doing: what, source: Box::new(source) },
    }
}

/// Whether another connection is in the way: SQLITE_BUSY, SQLITE_LOCKED.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}

/// Whether waiting cannot help: the statement or the stored data is wrong. Busy, locked, full and I/O errors heal.
fn is_damage(error: &sqlx::Error) -> bool {
    /// SQLITE_ERROR, SQLITE_CORRUPT, SQLITE_SCHEMA, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE, SQLITE_NOTADB.
    const DAMAGE: [u32; 7] = [1, 11, 17, 19, 20, 25, 26];
    match error {
        sqlx::Error::Database(_) => primary_code(error).is_some_and(|code| DAMAGE.contains(&code)),
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::RowNotFound => true,
        _ => false,
    }
}
