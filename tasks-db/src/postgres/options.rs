//! Where the server is, and how it may be talked to.

use std::fmt;
use std::sync::Arc;

use neartime_connect::postgres;
use neartime_model::Clock;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use crate::tables::DbClock;
use crate::{Result, TasksError};

const DEFAULT_CONNECTIONS: u32 = 10;
const MAX_SCHEMA_BYTES: usize = 48;

/// Where the Postgres server is, and how it may be talked to.
///
/// Prints no password.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) connect: PgConnectOptions,
    pub(super) schema: Option<String>,
    pub(super) pooled: bool,
    pub(super) connections: u32,
    pub(super) db_clock: DbClock,
    pub(crate) machine_clock: Arc<dyn Clock>,
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("host", &self.connect.get_host())
            .field("port", &self.connect.get_port())
            .field("database", &self.connect.get_database())
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl PostgresOptions {
    /// Host, port and database, as people say them.
    pub(super) fn address(&self) -> String {
        let Self { connect, .. } = self;
        let database = connect.get_database().unwrap_or_else(|| connect.get_username());
        format!("{}:{}/{database}", connect.get_host(), connect.get_port())
    }

    /// Reads `postgres://user:password@host:port/database?parameter=…`. Besides those of libpq (`sslmode`,
    /// `sslrootcert`, `application_name`, …) the parameters are
    ///
    /// - `schema`: the schema of the tables, made if need be; default: the first of the search path;
    /// - `pgbouncer=true`: a pooler in transaction mode stands in between, so nothing may outlive a transaction, prepared
    ///   statements neither;
    /// - `connections`: how many this process opens at most, heartbeats aside; default 10;
    /// - `allow_plaintext=true`: passwords and data may cross a network unencrypted.
    ///
    /// Without `sslmode` the server's certificate is verified, unless it is on this machine. Refused: another URL, an
    /// unknown value of these, and an `sslmode` under which the connection may be unencrypted, unless the server is on this
    /// machine or `allow_plaintext` is given. No error repeats the URL.
    pub fn from_url(url: &str, machine_clock: Arc<dyn Clock>) -> Result<Self> {
        let own = OwnParameters::split(url)?;
        let connect = postgres::options(&own.url).map_err(|wrong| refused(&wrong.to_string()))?;
        let mut connect = connect.disable_statement_logging();
        if connect.get_application_name().is_none() {
            connect = connect.application_name("neartime");
        }
        let options = Self {
            connect,
            schema: own.schema,
            pooled: own.pooled,
            connections: own.connections,
            db_clock: DbClock::Database,
            machine_clock,
        };
        Ok(options.with_settings())
    }

    /// Lets `clock` decide what is due or expired, and check fences.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.machine_clock = Arc::clone(&clock);
        self.db_clock = DbClock::Given(clock);
        self
    }

    /// Puts the tables into this schema instead. It is written into statements, so only names that need no quotes are
    /// allowed.
    pub fn with_schema(mut self, schema: &str) -> Result<Self> {
        self.schema = Some(checked_schema(schema)?);
        Ok(self.with_settings())
    }

    /// What every connection has set while it lasts; behind a pooler every transaction sets it for itself.
    fn with_settings(mut self) -> Self {
        if self.pooled {
            // PgBouncer refuses settings at the start of a connection that it does not follow.
            self.connect = self.connect.statement_cache_capacity(0).extra_float_digits(None);
            return self;
        }
        self.connect = self.connect.options(super::SETTINGS);
        if let Some(schema) = &self.schema {
            self.connect = self.connect.options([("search_path", schema)]);
        }
        self
    }
}

fn refused(what: &str) -> TasksError {
    TasksError::Refused(format!("the task database's URL {what}: correct tasks.database"))
}

fn checked_schema(name: &str) -> Result<String> {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let goes_on = name.chars().all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_');
    if begins && goes_on && name.len() <= MAX_SCHEMA_BYTES {
        Ok(name.to_owned())
    } else {
        Err(refused("has a schema whose name is not of the form [a-z_][a-z0-9_]*, at most 48 letters long"))
    }
}

/// The parameters of the task database alone, and the URL without them.
struct OwnParameters {
    url: String,
    schema: Option<String>,
    pooled: bool,
    connections: u32,
}

impl OwnParameters {
    fn split(url: &str) -> Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut own = Self { url: base.to_owned(), schema: None, pooled: false, connections: DEFAULT_CONNECTIONS };
        let mut separator = '?';
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "schema" => own.schema = Some(checked_schema(value)?),
                "pgbouncer" => own.pooled = flag(name, value)?,
                "connections" => own.connections = number_of_connections(value)?,
                _ => {
                    own.url.push(separator);
                    own.url.push_str(pair);
                    separator = '&';
                }
            }
        }
        Ok(own)
    }
}

fn flag(name: &str, value: &str) -> Result<bool> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(refused(&format!("has a parameter {name} that is neither true nor false"))),
    }
}

fn number_of_connections(value: &str) -> Result<u32> {
    let number = value.parse().ok().filter(|number| (2..=1000).contains(number));
    number.ok_or_else(|| refused("has a parameter connections that is no number from 2 to 1000"))
}

#[cfg(test)]
mod tests {
    use neartime_model::{Classify as _, ErrorKind, SystemClock};

    use super::*;

    fn options(url: &str) -> Result<PostgresOptions> {
        PostgresOptions::from_url(url, Arc::new(SystemClock))
    }

    #[test]
    fn a_connection_that_may_be_read_on_the_way_is_refused() {
        let mode = |url: &str| format!("{:?}", options(url).unwrap().connect.get_ssl_mode());
        assert_eq!(mode("postgres://u:secret@db.example.com/tasks?connections=4"), "VerifyFull");
        assert_eq!(mode("postgres://db.example.com/tasks?sslmode=disable&allow_plaintext=true"), "Disable");
        let error = options("postgres://u:secret@db.example.com/tasks?schema=fleet&sslmode=prefer").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("verify-full") && !error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn nothing_prints_the_password() {
        let good =
            options("postgres://u:secret@127.0.0.1:5433/tasks?schema=fleet&pgbouncer=true&connections=4").unwrap();
        assert!(!format!("{good:?}").contains("secret"));
        assert_eq!((good.schema.as_deref(), good.pooled, good.connections), (Some("fleet"), true, 4));
        for wrong in [
            "sqlite://secret.db",
            "postgres://u:secret@127.0.0.1:port/tasks",
            "postgres://u:secret@127.0.0.1/tasks?sslmode=secret",
            "postgres://u:secret@127.0.0.1/tasks?schema=secret;drop",
            "postgres://u:secret@127.0.0.1/tasks?pgbouncer=secret",
            "postgres://u:secret@127.0.0.1/tasks?connections=secret",
            "postgres://u@127.0.0.1/tasks?passwd=secret",
        ] {
            let error = options(wrong).unwrap_err();
            assert!(
                error.kind() == ErrorKind::Invalid && !format!("{error} {error:?}").contains("secret"),
                "{error:?}"
            );
        }
    }
}
