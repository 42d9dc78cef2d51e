//! Stage and swap on a real Postgres (`NEARTIME_TEST_POSTGRES`), and the same answers as SQLite's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use neartime_model::Fence;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};

use super::publishing::{as_of, world};
use crate::{AirError, PgPublisher, Publisher, Report, ShowQuery, Sort, Thresholds};

/// A schema of a test's own.
struct Schema {
    url: String,
    pool: PgPool,
    name: String,
}

impl Schema {
    /// `None`, and a line that says so, where there is no server to test on.
    async fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("NEARTIME_TEST_POSTGRES") else {
            eprintln!("skipped: NEARTIME_TEST_POSTGRES names no server");
            return None;
        };
        let name = format!("air_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let url = format!("{server}?options=-csearch_path%3D{name}");
        let options: PgConnectOptions = url.parse().unwrap();
        let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await.unwrap();
        let schema = Self { url, pool, name };
        schema.run(&format!("CREATE SCHEMA {}", schema.name)).await;
        Some(schema)
    }

    async fn run(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&self.pool).await.unwrap();
    }

    async fn number(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.pool).await.unwrap()
    }

    async fn publisher(&self) -> PgPublisher {
        PgPublisher::open(&self.url).await.unwrap()
    }

    async fn tables(&self) -> Vec<String> {
        let query = "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') \
                     AND relnamespace = current_schema()::regnamespace ORDER BY 1";
        sqlx::query_scalar(query).fetch_all(&self.pool).await.unwrap()
    }

    async fn drop(self) {
        self.run(&format!("DROP SCHEMA {} CASCADE", self.name)).await;
    }
}

async fn report(users: usize, fence: i64) -> Report {
    world(users).await.air.compute(as_of(), Fence(fence)).await.unwrap()
}

const TABLES: [&str; 5] =
    ["air_report", "air_report_inputs", "air_report_inputs_rows", "air_report_rows", "air_reports"];

#[tokio::test]
async fn it_answers_as_sqlite_does() {
    let Some(schema) = Schema::new().await else { return };
    let world = world(1_000).await;
    let files = ["pixels.csv", "segments.csv"].map(|name| world.folder.path().join(name));
    std::fs::write(&files[0], "id,name\nx,\"É, x\0\"\n").unwrap();
    std::fs::write(&files[1], "id,group,name\n1,g,\"One \"\"1\"\"\"\n2,g,\n1,all,\n").unwrap();
    let mut air = world.air.clone();
    (air.config.site_names, air.config.groups) = (Some(files[0].clone()), Some(files[1].clone()));
    air.config.thresholds = Thresholds { min_overlap: 150, min_site_audience: 100 };
    let postgres = schema.publisher().await;
    assert_eq!(postgres.live().await.unwrap(), None);
    let report = air.run(as_of(), Fence(7)).await.unwrap();
    postgres.publish(&report).await.unwrap();

    let (sqlite, live) = (air.publisher.live().await.unwrap().unwrap(), postgres.live().await.unwrap().unwrap());
    assert_eq!((live.fence, live.as_of, live.row_count), (sqlite.fence, sqlite.as_of, sqlite.row_count));
    assert_eq!((live.suppressed, live.input_files), (sqlite.suppressed, sqlite.input_files));
    assert_eq!(schema.number("SELECT count(*) FROM air_report_inputs WHERE generation = 1").await, 2);
    for sort in [None, Some(Sort::Index), Some(Sort::Users), Some(Sort::Z)] {
        for (site, group, min_users, limit) in [
            (None, None, None, None),
            (Some("x"), None, None, Some(2)),
            (None, Some("g"), Some(600), None),
            (Some("nowhere"), None, None, None),
        ] {
            let [site, group] = [site, group].map(|text: Option<&str>| text.map(str::to_owned));
            let query = ShowQuery { site, group, min_users, sort, limit };
            let mut expected: Vec<_> = air.publisher.show(&query).try_collect().await.unwrap();
            let found: Vec<_> = postgres.show(&query).try_collect().await.unwrap();
            let clean = |name: &mut String| *name = name.replace('\0', "\u{2400}");
            expected.iter_mut().for_each(|row| row.site_name.iter_mut().for_each(clean));
            assert_eq!(found, expected, "{query:?}");
        }
    }
    schema.drop().await;
}

#[tokio::test]
async fn an_older_fence_never_replaces_a_newer_one_and_leaves_nothing() {
    let Some(schema) = Schema::new().await else { return };
    let publisher = schema.publisher().await;
    publisher.publish(&report(10, 9).await).await.unwrap();
    schema.run("CREATE TABLE air_report_stage_3 (); CREATE TABLE air_report_inputs_stage_12 ()").await;
    let error = publisher.publish(&report(30, 8).await).await.unwrap_err();
    assert!(matches!(error, AirError::Superseded { live: Fence(9), mine: Fence(8) }), "{error}");
    assert_eq!(schema.number("SELECT max(group_users) FROM air_report").await, 10);
    // The same run again, as after a lost answer to its commit.
    publisher.publish(&report(30, 9).await).await.unwrap();
    assert_eq!(schema.number("SELECT max(group_users) FROM air_report").await, 30);
    // What a newer run is just writing stays.
    let mut expected = [TABLES.as_slice(), &["air_report_inputs_stage_12"]].concat();
    expected.sort_unstable();
    assert_eq!(schema.tables().await, expected);
    schema.drop().await;
}

/// Two reports of different sizes alternate a hundred times; readers ask for rows and note in one statement, prepared
/// and plain, and in transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_see_a_missing_half_or_mixed_report() {
    let Some(schema) = Schema::new().await else { return };
    let reports = [report(10, 1).await, report(30, 1).await];
    let publisher = schema.publisher().await;
    let publish = async |fence: i64| {
        let mut report = reports[usize::try_from(fence % 2).unwrap()].clone();
        report.fence = Fence(fence);
        publisher.publish(&report).await.unwrap();
    };
    publish(10).await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (stop, pool) = (Arc::clone(&stop), schema.pool.clone());
            tokio::spawn(async move {
                let query = "SELECT (SELECT fence FROM air_reports WHERE live), count(*), min(segment_users), \
                             max(group_users) FROM air_report";
                let mut reads = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut transaction = pool.begin().await.unwrap();
                    if reader == 3 {
                        // Its snapshot is older than a swap that happens now.
                        let level = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
                        sqlx::query(level).execute(&mut *transaction).await.unwrap();
                        sqlx::query("SELECT 1").execute(&mut *transaction).await.unwrap();
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    for _ in 0..reader + 1 {
                        let query = sqlx::query(query).persistent(reader > 0);
                        let row = query.fetch_one(&mut *transaction).await.unwrap();
                        let number = |at: usize| row.get::<i64, _>(at);
                        assert_eq!((number(1), number(3)), (4, number(2) * 2));
                        let users = if number(0) % 2 == 0 { 10 } else { 30 };
                        assert!(reader == 3 || number(3) == users, "rows of another report");
                    }
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for fence in 11..111 {
        publish(fence).await;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 20);
    }
    assert_eq!(publisher.live().await.unwrap().unwrap().fence, Fence(110));
    assert_eq!(schema.tables().await, TABLES);
    schema.drop().await;
}

#[tokio::test]
async fn views_and_grants_outlive_reports_and_patience_outlasts_a_reader() {
    let Some(schema) = Schema::new().await else { return };
    let publisher = schema.publisher().await;
    publisher.publish(&report(10, 1).await).await.unwrap();
    schema.run("CREATE VIEW mine AS SELECT max(group_users) AS users FROM air_report; GRANT SELECT ON air_report TO PUBLIC").await;

    // A reader that keeps its transaction open for longer than a lock is waited for; other readers pass meanwhile.
    let mut slow = schema.pool.begin().await.unwrap();
    sqlx::query("SELECT * FROM mine").fetch_one(&mut *slow).await.unwrap();
    let next = report(30, 2).await;
    let (published, users) = tokio::join!(publisher.publish(&next), async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let users: i64 = sqlx::query_scalar("SELECT users FROM mine").fetch_one(&mut *slow).await.unwrap();
        slow.commit().await.unwrap();
        users
    });
    published.unwrap();
    assert_eq!(users, 10);
    assert_eq!(schema.number("SELECT users FROM mine").await, 30);
    let granted = "SELECT count(*) FROM information_schema.table_privileges WHERE table_schema = current_schema() \
                   AND table_name = 'air_report' AND grantee = 'PUBLIC'";
    assert_eq!(schema.number(granted).await, 1);
    schema.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_and_publish_at_once() {
    let Some(schema) = Schema::new().await else { return };
    let report = report(10, 1).await;
    let runs = (1..=6).map(|fence| {
        let (url, mut report) = (schema.url.clone(), report.clone());
        report.fence = Fence(fence);
        tokio::spawn(async move { PgPublisher::open(&url).await?.publish(&report).await })
    });
    let mut published = 0;
    for run in runs.collect::<Vec<_>>() {
        match run.await.unwrap() {
            Ok(()) => published += 1,
            Err(AirError::Superseded { .. }) => {}
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
    assert!(published >= 1);
    assert_eq!(schema.number("SELECT fence FROM air_reports WHERE live").await, 6);
    assert_eq!(schema.number("SELECT count(*) FROM air_report").await, 4);
    assert_eq!(schema.tables().await, TABLES);
    schema.drop().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_without_telling_it() {
    let Some(schema) = Schema::new().await else { return };
    let url = schema.url.replace("neartime:neartime@", "neartime:s3cret@");
    let error = PgPublisher::open(&url).await.unwrap_err();
    assert_eq!(neartime_model::Classify::kind(&error), neartime_model::ErrorKind::Unavailable);
    let text = neartime_model::chain(&error).to_string();
    assert!(text.contains("password authentication failed") && !text.contains("s3cret"), "{text}");
    schema.drop().await;
}

/// PgBouncer in front of the same server, pooling by transaction. In a database of its own: schemas that other tests
/// set would stay with the pooled connections.
#[tokio::test]
async fn a_pooler_may_stand_in_between() {
    let (Some(schema), Ok(pooler)) = (Schema::new().await, std::env::var("NEARTIME_TEST_PGBOUNCER")) else {
        eprintln!("skipped: NEARTIME_TEST_PGBOUNCER names no pooler");
        return;
    };
    schema.run(&format!("CREATE DATABASE {}", schema.name)).await;
    let (server, _) = pooler.rsplit_once('/').unwrap();
    let address = format!("{server}/{}", schema.name);
    let publishers = [0, 1].map(|_| PgPublisher::open(&address));
    let publishers = futures::future::try_join_all(publishers).await.unwrap();
    for fence in 1..=6 {
        let publisher = &publishers[usize::try_from(fence).unwrap() % 2];
        publisher.publish(&report(10, fence).await).await.unwrap();
        let rows: Vec<_> = publisher.show(&ShowQuery::default()).try_collect().await.unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(publisher.live().await.unwrap().unwrap().fence, Fence(fence));
    }
    drop(publishers);
    schema.run(&format!("DROP DATABASE {} WITH (FORCE)", schema.name)).await;
    schema.drop().await;
}
