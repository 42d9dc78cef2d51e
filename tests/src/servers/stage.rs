//! A database, a keyspace and a bucket of a test's own.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::runtime::Runtime;

use super::Servers;
use super::aws::{ACCOUNT, Aws, REGION};
use crate::site::Site;

/// They carry one name, and are removed at the end, but for what moto keeps in memory.
pub struct Stage {
    servers: Servers,
    name: String,
    runtime: Runtime,
    cassandra: Session,
}

impl Stage {
    /// Makes them where the servers are at hand.
    pub fn at_hand(test: &str) -> Option<Self> {
        Servers::at_hand().map(|servers| Self::on(servers, test))
    }

    /// Makes them on these servers.
    pub fn on(servers: Servers, test: &str) -> Self {
        static STAGES: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}_{test}", std::process::id(), STAGES.fetch_add(1, Relaxed));
        let runtime = Runtime::new().expect("threads for the test's clients");
        let cassandra = runtime.block_on(session(&servers));
        let stage = Self { servers, name, runtime, cassandra };
        stage.postgres_admin(&format!("create database {}", stage.name));
        stage.cql(&format!(
            "create keyspace {} with replication = {{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}}",
            stage.name
        ));
        stage.aws().create_bucket(&stage.bucket());
        stage
    }

    pub fn aws(&self) -> &Aws {
        &self.servers.aws
    }

    /// The database and the keyspace.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn bucket(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The database's URL, password and all.
    pub fn postgres_url(&self) -> String {
        let (server, _) = self.servers.postgres.rsplit_once('/').expect("a database in the URL");
        format!("{server}/{}", self.name)
    }

    /// A queue that hears of what is put below `prefix` of the bucket: its URL.
    pub fn queue(&self, prefix: &str) -> String {
        let url = self.aws().create_queue(&self.bucket());
        self.aws().notify(&self.bucket(), prefix, &self.bucket());
        url
    }

    /// The tables of `neartime.toml` that say where everything is stored.
    pub fn stores(&self) -> String {
        let Servers { cassandra, cassandra_user, cassandra_password, .. } = &self.servers;
        format!(
            r#"
[tasks]
database = "{}"
[features_store]
location = "s3://{}/features"
[online_store]
url = "{cassandra}/{}"
username = "{cassandra_user}"
password = "{cassandra_password}"
[s3]
region = "{REGION}"
endpoint = "{}"
path_style = true
[run]
workers = 2
lease = "10s"
"#,
            self.postgres_url(),
            self.bucket(),
            self.name,
            self.aws().url(),
        )
    }

    /// A folder with this configuration, in which the binary runs as a stranger to the developer's own AWS accounts.
    pub fn site(&self, binary: &str, config: &str) -> Site {
        let url = self.aws().url();
        Site::new(binary, config)
            .with_variable("AWS_ENDPOINT_URL", &url)
            .with_variable("AWS_ACCESS_KEY_ID", "test")
            .with_variable("AWS_SECRET_ACCESS_KEY", "test")
            .with_variable("AWS_REGION", REGION)
            .with_variable("AWS_CONFIG_FILE", "/dev/null")
            .with_variable("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .with_variable("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Puts an object below the bucket's `raw/`.
    pub fn put_raw(&self, key: &str, bytes: impl AsRef<[u8]>) {
        self.aws().put(&self.bucket(), &format!("raw/{key}"), bytes);
    }

    /// The published Parquet files by their path in the features store.
    pub fn parquet_files(&self) -> std::collections::BTreeMap<String, Vec<u8>> {
        let mut files = self.aws().objects(&self.bucket(), "features/");
        files.retain(|path, _| path.ends_with(".parquet") && !path.split('/').any(|part| part.starts_with('.')));
        files
    }

    /// Runs a statement in the test's database and returns the first column of its rows, as text.
    pub fn postgres(&self, statement: &str) -> Vec<String> {
        let url = self.postgres_url();
        self.runtime.block_on(async {
            let mut connection = connect(&url).await;
            let rows = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&mut connection).await;
            rows.unwrap_or_else(|error| panic!("{statement}: {error}"))
        })
    }

    /// The same while the database may be away: then `None`.
    pub fn try_postgres(&self, statement: &str) -> Option<Vec<String>> {
        let options: PgConnectOptions = self.postgres_url().parse().expect("a Postgres URL");
        self.runtime.block_on(async {
            let mut connection = options.connect().await.ok()?;
            sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&mut connection).await.ok()
        })
    }

    /// Runs a statement that returns nothing in the test's database.
    pub fn postgres_do(&self, statements: &str) {
        execute(&self.runtime, &self.postgres_url(), statements);
    }

    fn postgres_admin(&self, statement: &str) {
        execute(&self.runtime, &self.servers.postgres, statement);
    }

    /// Runs a CQL statement in which `ks.` stands for the test's keyspace, and returns its rows of one text column.
    pub fn cql(&self, statement: &str) -> Vec<String> {
        let statement = statement.replace("ks.", &format!("{}.", self.name));
        self.runtime.block_on(async {
            let result = self.cassandra.query_unpaged(statement.as_str(), &[]).await;
            let result = result.unwrap_or_else(|error| panic!("{statement}: {error}"));
            if !result.is_rows() {
                return Vec::new();
            }
            let rows = result.into_rows_result().expect("rows");
            rows.rows::<(String,)>().expect("one text column").map(|row| row.expect("a row").0).collect()
        })
    }

    /// Every row of a feature's online table as JSON, with its columns in order.
    pub fn online_rows(&self, feature: &str) -> Vec<serde_json::Value> {
        let rows = self.cql(&format!("select json * from ks.{feature}"));
        rows.iter().map(|row| serde_json::from_str(row).expect("Cassandra writes JSON")).collect()
    }

    /// The queue's ARN, as policies name it.
    pub fn queue_arn(&self) -> String {
        format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{}", self.bucket())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for looking: database and keyspace {}, bucket {}", self.name, self.bucket());
            return;
        }
        self.postgres_admin(&format!("drop database {} with (force)", self.name));
        self.cql(&format!("drop keyspace {}", self.name));
    }
}

fn execute(runtime: &Runtime, url: &str, statements: &str) {
    runtime.block_on(async {
        let mut connection = connect(url).await;
        let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error}"));
        connection.close().await.expect("the connection closes");
    });
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a Postgres URL");
    options.connect().await.expect("Postgres lets the test in")
}

async fn session(servers: &Servers) -> Session {
    SessionBuilder::new()
        .known_node(servers.cassandra.trim_start_matches("cassandra://"))
        .user(&servers.cassandra_user, &servers.cassandra_password)
        .build()
        .await
        .expect("Cassandra lets the test in")
}
