//! The suite that every online store passes, against a real server, and what is Cassandra's own.
//!
//! `NEARTIME_TEST_CASSANDRA` (`cassandra://host:port`), `NEARTIME_TEST_CASSANDRA_USER` and `_PASSWORD` tell where it is;
//! without them nothing is tested. `NEARTIME_TEST_CASSANDRA_TLS` (`host:port`) names the same server behind an encrypted port.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use neartime_engine::{FeatureTable, OnlineLayout};
use neartime_model::{Classify, Clock, ErrorKind, Fence, Span, SystemClock};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use tokio::sync::OnceCell;

use super::{CassandraOnlineStore, CassandraOptions};
use crate::OnlineStore;
use crate::online::contract::{AT, Backend, Place, online_contract};
use crate::testing::{batch, file, table, users};

online_contract!(open);

/// Keyspaces of earlier test runs begin like this; the number behind it is when they were made, in epoch seconds.
const KEYSPACE_PREFIX: &str = "neartime_test_";
/// After this time a run is over, however it ended.
const RUN_SECS: i64 = 3_600;

static KEYSPACE: OnceCell<String> = OnceCell::const_new();

/// The server to test against, with a keyspace of this run's own; `None` if there is none.
async fn options() -> Option<CassandraOptions> {
    let Ok(url) = std::env::var("NEARTIME_TEST_CASSANDRA") else {
        eprintln!("skipped: NEARTIME_TEST_CASSANDRA is not set");
        return None;
    };
    let mut options = CassandraOptions {
        contact_points: vec![url.trim_start_matches("cassandra://").to_owned()],
        keyspace: String::new(),
        username: std::env::var("NEARTIME_TEST_CASSANDRA_USER").ok(),
        password: std::env::var("NEARTIME_TEST_CASSANDRA_PASSWORD").ok(),
        datacenter: None,
        tls: false,
    };
    options.keyspace = KEYSPACE.get_or_init(|| make_keyspace(&options)).await.clone();
    Some(options)
}

async fn session(options: &CassandraOptions) -> Session {
    let mut builder = SessionBuilder::new().known_nodes(&options.contact_points);
    if let (Some(username), Some(password)) = (&options.username, &options.password) {
        builder = builder.user(username, password);
    }
    builder.build().await.unwrap()
}

async fn make_keyspace(options: &CassandraOptions) -> String {
    let session = session(options).await;
    let now = SystemClock.now().as_secs();
    let names = session.query_unpaged("SELECT keyspace_name FROM system_schema.keyspaces", ()).await.unwrap();
    for name in names.into_rows_result().unwrap().rows::<(String,)>().unwrap() {
        let (name,) = name.unwrap();
        let made = name.strip_prefix(KEYSPACE_PREFIX).and_then(|rest| rest.split('_').next()?.parse::<i64>().ok());
        if made.is_some_and(|made| made < now - RUN_SECS) {
            session.query_unpaged(format!("DROP KEYSPACE IF EXISTS {name}"), ()).await.unwrap();
        }
    }
    let name = format!("{KEYSPACE_PREFIX}{now}_{}", std::process::id());
    let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    session.query_unpaged(format!("CREATE KEYSPACE {name} WITH replication = {replication}"), ()).await.unwrap();
    name
}

async fn open() -> Option<Backend> {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let options = options().await?;
    let clock = Backend::clock();
    let store = Arc::new(CassandraOnlineStore::connect(&options, clock.clone()).await.unwrap());
    let suffix = format!("_{}", TESTS.fetch_add(1, Ordering::Relaxed));
    Some(Backend { store, clock, suffix, lives_in_real_time: true, offline: Place::Bucket, _guard: Box::new(()) })
}

async fn refused(options: &CassandraOptions) -> String {
    let error = CassandraOnlineStore::connect(options, Backend::clock()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let told = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(!told.contains("open sesame"), "{told}");
    told
}

#[tokio::test]
async fn a_refused_login_and_a_missing_keyspace_are_told_apart() {
    let Some(options) = options().await else { return };
    let login = CassandraOptions { password: Some("open sesame".to_owned()), ..options.clone() };
    assert!(!format!("{login:?}").contains("open sesame"));
    let told = refused(&login).await;
    assert!(told.starts_with("logging in to cassandra at 127.0.0.1:") && told.contains("as `cassandra`"), "{told}");
    let nobody = CassandraOptions { username: None, password: None, ..options.clone() };
    let told = refused(&nobody).await;
    assert!(told.contains("set username and password"), "{told}");
    let keyspace = CassandraOptions { keyspace: "nowhere".to_owned(), ..options.clone() };
    let told = refused(&keyspace).await;
    assert!(told.starts_with("looking for the keyspace `nowhere`") && told.contains("create it"), "{told}");
    let elsewhere = CassandraOptions { contact_points: vec!["127.0.0.1:1".to_owned()], ..options.clone() };
    let told = refused(&elsewhere).await;
    assert!(told.starts_with("connecting to cassandra at 127.0.0.1:1"), "{told}");

    let datacenter = CassandraOptions { datacenter: Some("atlantis".to_owned()), ..options };
    let error = CassandraOnlineStore::connect(&datacenter, Backend::clock()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().starts_with("cassandra has no data centre `atlantis`: it has "), "{error}");
}

#[tokio::test]
async fn the_rows_of_another_engine_are_refused() {
    let Some(options) = options().await else { return };
    let store = CassandraOnlineStore::connect(&options, Backend::clock()).await.unwrap();
    let count = table("engines", OnlineLayout::PerChunk);
    store.ensure(&count).await.unwrap();
    let rollup = FeatureTable { engine: "rollup", ..count };
    let error = store.ensure(&rollup).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("holds rows of the engine count, the feature's is rollup"), "{error}");
}

#[tokio::test]
async fn a_row_lives_as_long_as_its_retention_and_is_kept_with_those_of_its_time() {
    let Some(options) = options().await else { return };
    let (store, session) =
        (CassandraOnlineStore::connect(&options, Backend::clock()).await.unwrap(), session(&options).await);
    let kept = FeatureTable { retention: Some(Span::from_days(90)), ..table("kept", OnlineLayout::PerChunk) };
    store.ensure(&kept).await.unwrap();
    store.write(&file(&kept, AT), Fence(1), batch(&kept, &users([1]))).await.unwrap();
    let keyspace = &options.keyspace;
    let ttl = session.query_unpaged(format!("SELECT TTL(actions_count) FROM {keyspace}.kept"), ()).await.unwrap();
    let (ttl,) = ttl.into_rows_result().unwrap().single_row::<(i32,)>().unwrap();
    // The chunk ends ten minutes after the clock's instant.
    let whole = 90 * 86_400 + 600;
    assert!((whole - 30..=whole).contains(&ttl), "{ttl}");
    let compaction =
        "SELECT compaction['class'] FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'kept'";
    let compaction = session.query_unpaged(compaction, (keyspace,)).await.unwrap();
    let (compaction,) = compaction.into_rows_result().unwrap().single_row::<(String,)>().unwrap();
    assert!(compaction.ends_with("TimeWindowCompactionStrategy"), "{compaction}");

    let century = FeatureTable { retention: Some(Span::from_days(36_500)), ..kept };
    let error = store.ensure(&century).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn rows_carry_the_fence_or_the_event_time() {
    let Some(options) = options().await else { return };
    let (store, session) =
        (CassandraOnlineStore::connect(&options, Backend::clock()).await.unwrap(), session(&options).await);
    for (layout, name, column, written) in [
        (OnlineLayout::PerChunk, "stamped_chunk", "actions_count", 1_533_120_000_000_007),
        (OnlineLayout::Latest, "stamped_latest", "last_action_timestamp", 1_533_118_630_000_000),
    ] {
        let table = table(name, layout);
        store.ensure(&table).await.unwrap();
        let fence = Fence(1_533_120_000_000_007);
        store.write(&file(&table, AT), fence, batch(&table, &users([1_533_118_630]))).await.unwrap();
        let cql = format!("SELECT WRITETIME({column}) FROM {}.{name}", options.keyspace);
        let found = session.query_unpaged(cql, ()).await.unwrap().into_rows_result().unwrap();
        assert_eq!(found.single_row::<(i64,)>().unwrap().0, written);
    }
}

#[tokio::test]
async fn an_encrypted_port_is_talked_to() {
    let (Some(options), Ok(address)) = (options().await, std::env::var("NEARTIME_TEST_CASSANDRA_TLS")) else {
        eprintln!("skipped: NEARTIME_TEST_CASSANDRA_TLS is not set");
        return;
    };
    let options = CassandraOptions { contact_points: vec![address], tls: true, ..options };
    let store = CassandraOnlineStore::connect(&options, Backend::clock()).await.unwrap();
    let table = table("encrypted", OnlineLayout::PerChunk);
    store.ensure(&table).await.unwrap();
    store.write(&file(&table, AT), Fence(1), batch(&table, &users(0..1_000))).await.unwrap();
}
