//! Schemas that come and go on the server for tests.

use std::sync::Arc;

use neartime_model::SystemClock;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::PostgresOptions;

/// Where the server is; none says so.
pub(crate) fn server_url() -> Option<String> {
    let url = std::env::var("NEARTIME_TEST_POSTGRES").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!("skipped: NEARTIME_TEST_POSTGRES names no server");
    }
    url
}

/// A schema for one test.
pub(crate) struct Scratch {
    url: String,
    pub(crate) schema: String,
}

impl Scratch {
    pub(crate) async fn new(url: &str) -> Self {
        let schema = format!("neartime_test_{:016x}", fastrand::u64(..));
        Self { url: url.to_owned(), schema }
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        self.options_with(false)
    }

    /// Behind a pooler in transaction mode, or not.
    pub(crate) fn options_with(&self, pooled: bool) -> PostgresOptions {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let Self { url, schema } = self;
        let url = format!("{url}{separator}schema={schema}&application_name={schema}&pgbouncer={pooled}");
        PostgresOptions::from_url(&url, Arc::new(SystemClock)).unwrap()
    }

    /// Runs statements by hand.
    pub(crate) async fn run(&self, statements: &str) {
        let mut conn = PgConnection::connect(&self.url).await.unwrap();
        let script = format!("SET search_path = {}; {statements}", self.schema);
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    /// Ends every connection of this test, as a server does that is restarted.
    pub(crate) async fn cut_connections(&self) {
        // None to cut while the server itself is being restarted, by whoever runs the test.
        let Ok(mut conn) = PgConnection::connect(&self.url).await else { return };
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name";
        let cut = AssertSqlSafe(format!("{cut} = '{}'", self.schema));
        sqlx::raw_sql(cut).execute(&mut conn).await.ok();
    }

    pub(crate) async fn drop(self) {
        self.run(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema)).await;
    }
}
