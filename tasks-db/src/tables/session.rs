//! One way to run a statement on either database.
//!
//! What the crate does is written once; what it says to a database stands in twin files, `queries/sqlite/` and
//! `queries/postgres/`, that take the same parameters and give the same columns. Lists travel as JSON text.

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{FromRow, Sqlite};
#[cfg(feature = "postgres")]
use sqlx::{
    PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
};

use super::fault::{Fault, Step};

/// A statement in the words of each database.
#[derive(Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) sqlite: &'static str,
    #[cfg(feature = "postgres")]
    pub(crate) postgres: &'static str,
}

/// The twin files of one name; a few statements only Postgres needs, for its locks.
macro_rules! statement {
    ($name:literal) => {
        $crate::tables::session::Statement {
            sqlite: include_str!(concat!("../../queries/sqlite/", $name, ".sql")),
            #[cfg(feature = "postgres")]
            postgres: include_str!(concat!("../../queries/postgres/", $name, ".sql")),
        }
    };
    (postgres $name:literal) => {
        $crate::tables::session::Statement {
            sqlite: "",
            #[cfg(feature = "postgres")]
            postgres: include_str!(concat!("../../queries/postgres/", $name, ".sql")),
        }
    };
}
pub(crate) use statement;

/// A connection, whichever it is.
pub(crate) enum Session<'c> {
    Sqlite(&'c mut SqliteConnection),
    /// And whether the server may remember statements: not where the next one meets another server.
    #[cfg(feature = "postgres")]
    Postgres(&'c mut PgConnection, Remember),
}

/// Whether the server may remember a statement under a name.
#[cfg(feature = "postgres")]
pub(crate) type Remember = bool;

/// A row that either database can give.
#[cfg(feature = "postgres")]
pub(crate) trait Record: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
#[cfg(feature = "postgres")]
impl<R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Record for R {}

/// A row that the database can give.
#[cfg(not(feature = "postgres"))]
pub(crate) trait Record: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
#[cfg(not(feature = "postgres"))]
impl<R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Record for R {}

/// A parameter.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Number(Option<i64>),
    Text(Option<String>),
    Flag(bool),
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Arg {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Arg {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<Option<&str>> for Arg {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<bool> for Arg {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// A statement and its parameters.
#[derive(Clone)]
pub(crate) struct Call {
    statement: Statement,
    args: Vec<Arg>,
}

impl Statement {
    /// Gives the next parameter.
    pub(crate) fn bind(self, arg: impl Into<Arg>) -> Call {
        Call { statement: self, args: vec![arg.into()] }
    }

    /// Runs it without parameters.
    pub(crate) fn call(self) -> Call {
        Call { statement: self, args: Vec::new() }
    }
}

impl Call {
    /// Gives the next parameter.
    pub(crate) fn bind(mut self, arg: impl Into<Arg>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) async fn run(self, session: Session<'_>) -> Step<()> {
        match session {
            Session::Sqlite(conn) => {
                sqlx::query_with(self.statement.sqlite, sqlite_arguments(&self.args)?).execute(conn).await?;
            }
            #[cfg(feature = "postgres")]
            Session::Postgres(conn, remember) => {
                let args = postgres_arguments(&self.args)?;
                sqlx::query_with(self.statement.postgres, args).persistent(remember).execute(conn).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn all<R: Record>(self, session: Session<'_>) -> Step<Vec<R>> {
        Ok(match session {
            Session::Sqlite(conn) => {
                let args = sqlite_arguments(&self.args)?;
                sqlx::query_as_with::<Sqlite, R, _>(self.statement.sqlite, args).fetch_all(conn).await?
            }
            #[cfg(feature = "postgres")]
            Session::Postgres(conn, remember) => {
                let args = postgres_arguments(&self.args)?;
                let query = sqlx::query_as_with::<Postgres, R, _>(self.statement.postgres, args);
                query.persistent(remember).fetch_all(conn).await?
            }
        })
    }

    /// The row as it is.
    #[cfg(feature = "postgres")]
    pub(crate) async fn postgres_row(self, conn: &mut PgConnection, remember: Remember) -> Step<PgRow> {
        let args = postgres_arguments(&self.args)?;
        Ok(sqlx::query_with(self.statement.postgres, args).persistent(remember).fetch_one(conn).await?)
    }

    /// The first row, if there is one.
    pub(crate) async fn optional<R: Record>(self, session: Session<'_>) -> Step<Option<R>> {
        Ok(self.all(session).await?.into_iter().next())
    }

    /// The row; it is damage if there is none.
    pub(crate) async fn one<R: Record>(self, session: Session<'_>) -> Step<R> {
        self.optional(session).await?.ok_or(Fault::Sql(sqlx::Error::RowNotFound))
    }

    /// Whether there is a row.
    pub(crate) async fn any(self, session: Session<'_>) -> Step<bool> {
        Ok(match session {
            Session::Sqlite(conn) => {
                let args = sqlite_arguments(&self.args)?;
                sqlx::query_with(self.statement.sqlite, args).fetch_optional(conn).await?.is_some()
            }
            #[cfg(feature = "postgres")]
            Session::Postgres(conn, remember) => {
                let args = postgres_arguments(&self.args)?;
                let query = sqlx::query_with(self.statement.postgres, args).persistent(remember);
                query.fetch_optional(conn).await?.is_some()
            }
        })
    }
}

fn sqlite_arguments(args: &[Arg]) -> Step<SqliteArguments> {
    let mut list = SqliteArguments::default();
    for arg in args {
        match arg {
            Arg::Number(number) => sqlx::Arguments::add(&mut list, *number),
            Arg::Text(text) => sqlx::Arguments::add(&mut list, text.clone()),
            Arg::Flag(flag) => sqlx::Arguments::add(&mut list, *flag),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(list)
}

#[cfg(feature = "postgres")]
fn postgres_arguments(args: &[Arg]) -> Step<PgArguments> {
    let mut list = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Number(number) => sqlx::Arguments::add(&mut list, *number),
            // Postgres stores no NUL, in text as little as in JSON.
            Arg::Text(text) => sqlx::Arguments::add(&mut list, text.as_deref().map(without_nul)),
            Arg::Flag(flag) => sqlx::Arguments::add(&mut list, *flag),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(list)
}

/// Text, or JSON text, with U+FFFD in place of each NUL.
#[cfg(feature = "postgres")]
fn without_nul(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    // In JSON it is written `\u0000`, unless that backslash is escaped itself.
    while let Some(at) = rest.find(['\0', '\\']) {
        clean.push_str(&rest[..at]);
        let tail = &rest[at..];
        let (word, taken) = if tail.starts_with('\0') {
            ("\u{fffd}", 1)
        } else if tail.starts_with("\\u0000") {
            ("\u{fffd}", 6)
        } else if tail.starts_with("\\\\") {
            ("\\\\", 2)
        } else {
            ("\\", 1)
        };
        clean.push_str(word);
        rest = &tail[taken..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn nul_is_replaced_in_text_and_in_json() {
        assert_eq!(without_nul("a\0b\0"), "a\u{fffd}b\u{fffd}");
        for text in ["plain", "", "\\", "a\\b", "\\u0000", "\\\\u0000 \n \u{1f600}"] {
            let json = serde_json::json!([text, format!("{text}\0{text}")]).to_string();
            let clean: Vec<String> = serde_json::from_str(&without_nul(&json)).unwrap();
            assert_eq!(clean, [text.to_owned(), format!("{text}\u{fffd}{text}")]);
        }
    }
}
