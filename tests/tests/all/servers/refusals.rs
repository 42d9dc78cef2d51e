//! What refuses us, or is not there, is said clearly: which service, what was asked, what to do; never a password.

use neartime_tests::configs::{users, users_features};
use neartime_tests::proxy::FaultProxy;
use neartime_tests::reservoir::gzip;
use neartime_tests::servers::Stage;
use neartime_tests::site::Site;

use crate::BINARY;

/// Stands where a password stands, and must never be seen again.
const WRONG_PASSWORD: &str = "open-sesame-4711";
const REFUSED: i32 = 3;

fn config(stage: &Stage, source: &str) -> String {
    let location = format!("location = \"s3://{}/raw\"", stage.bucket());
    let events = users("events", source).replace("location = \"raw\"", &location);
    stage.stores() + &events + &users_features("events")
}

fn with_queue(url: &str) -> String {
    format!("discover = [\"list\", \"sqs\"]\nsqs = {{ queue = \"{url}\" }}")
}

fn put_one(stage: &Stage) {
    let line = r#"{"user":"ann","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}"#;
    stage.put_raw("2024/02/29/100000.gz", gzip(line));
}

/// `check` and `run --once` both end with 3 and say all of `words`.
#[track_caller]
fn assert_refused(site: &Site, words: &[&str]) {
    for verb in [&["check"][..], &["run", "--once"]] {
        assert_refuses(site, verb, words);
    }
}

#[track_caller]
fn assert_refuses(site: &Site, verb: &[&str], words: &[&str]) {
    let ran = site.run(verb.iter().copied());
    let said = format!("{}{}", ran.stdout, ran.stderr);
    if std::env::var_os("NEARTIME_TEST_SHOW").is_some() {
        eprintln!("--- {verb:?} {:?}\n{said}", ran.code);
    }
    assert_eq!(ran.code, Some(REFUSED), "{verb:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{verb:?} does not say `{word}`:\n{said}");
    }
    assert!(!said.contains(WRONG_PASSWORD), "{verb:?} shows the password:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_wrong_postgres_password() {
    let Some(stage) = Stage::at_hand("pg_password") else { return };
    let url = stage.postgres_url();
    let (login, server) = url.split_once('@').unwrap();
    let (login, _) = login.rsplit_once(':').unwrap();
    let wrong = format!("{login}:{WRONG_PASSWORD}@{server}");
    let site = stage.site(BINARY, &config(&stage, "").replace(&url, &wrong));
    assert_refused(&site, &["password"]);
}

#[test]
fn a_database_that_is_not_there() {
    let Some(stage) = Stage::at_hand("pg_missing") else { return };
    let missing = format!("{}_missing", stage.postgres_url());
    let site = stage.site(BINARY, &config(&stage, "").replace(&stage.postgres_url(), &missing));
    assert_refused(&site, &["_missing", "exist"]);
}

#[test]
fn a_wrong_cassandra_password() {
    let Some(stage) = Stage::at_hand("cql_password") else { return };
    let site = stage.site(BINARY, &config(&stage, "")).with_variable("NEARTIME_ONLINE_STORE__PASSWORD", WRONG_PASSWORD);
    assert_refused(&site, &["127.0.0.1", "password"]);
}

#[test]
fn a_keyspace_that_is_not_there() {
    let Some(stage) = Stage::at_hand("cql_keyspace") else { return };
    let url = format!("/{}\"\nusername", stage.name());
    let site = stage.site(BINARY, &config(&stage, "").replace(&url, "/nowhere\"\nusername"));
    assert_refused(&site, &["keyspace", "nowhere"]);
}

#[test]
fn a_role_that_may_not_make_tables() {
    let Some(stage) = Stage::at_hand("cql_rights") else { return };
    let role = format!("{}_role", stage.name());
    stage.cql(&format!("create role {role} with login = true and password = 'secret'"));
    let site = stage
        .site(BINARY, &config(&stage, ""))
        .with_variable("NEARTIME_ONLINE_STORE__USERNAME", &role)
        .with_variable("NEARTIME_ONLINE_STORE__PASSWORD", "secret");
    put_one(&stage);
    assert_refuses(&site, &["run", "--once"], &[&role]);
    stage.cql(&format!("drop role {role}"));
}

#[test]
fn an_online_table_that_someone_else_made() {
    let Some(stage) = Stage::at_hand("cql_drift") else { return };
    stage.cql("create table ks.counted (id text primary key, actions_count text)");
    let site = stage.site(BINARY, &config(&stage, ""));
    put_one(&stage);
    let ran = site.run(["run", "--once"]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(matches!(ran.code, Some(2 | 3)), "{:?}: {said}", ran.code);
    assert!(said.contains("counted"), "{said}");
}

#[test]
fn a_bucket_that_is_not_there() {
    let Some(stage) = Stage::at_hand("s3_missing") else { return };
    put_one(&stage);
    for place in ["raw", "features"] {
        let written = format!("s3://{}/{place}", stage.bucket());
        let site = stage.site(BINARY, &config(&stage, "").replace(&written, &format!("s3://nobodys-bucket/{place}")));
        assert_refuses(&site, &["check"], &["nobodys-bucket"]);
    }
}

#[test]
fn a_bucket_that_refuses_us() {
    let Some(stage) = Stage::at_hand("s3_denied") else { return };
    let proxy = FaultProxy::start(stage.aws().server().parse().unwrap(), 1).unwrap();
    proxy.deny();
    let site = stage.site(BINARY, &config(&stage, "")).with_variable("NEARTIME_S3__ENDPOINT", &proxy.url());
    assert_refuses(&site, &["check"], &["AccessDenied", &stage.bucket()]);
}

#[test]
fn a_queue_that_is_not_there() {
    let Some(stage) = Stage::at_hand("sqs_missing") else { return };
    let queue = format!("{}/123456789012/nobodys-queue", stage.aws().url());
    let site = stage.site(BINARY, &config(&stage, &with_queue(&queue)));
    assert_refuses(&site, &["check"], &["nobodys-queue"]);
}

#[test]
fn a_stream_that_is_not_there() {
    let Some(stage) = Stage::at_hand("stream_missing") else { return };
    let channel = "discover = [\"list\", \"kinesis\"]\nkinesis = { stream = \"nobodys-stream\", carries = \"keys\" }";
    let site = stage.site(BINARY, &config(&stage, channel));
    assert_refuses(&site, &["check"], &["nobodys-stream"]);
}

/// Functions of the test's own stand before the server's, as a clock that goes wrong.
#[test]
fn a_clock_that_is_more_than_a_minute_off() {
    let Some(stage) = Stage::at_hand("clock") else { return };
    let site = stage.site(BINARY, &config(&stage, ""));
    let checked = site.run(["check"]);
    assert_eq!(checked.code, Some(0), "{}\n{}", checked.stdout, checked.stderr);
    stage.postgres_do(&format!(
        "create schema wrong;
         create function wrong.clock_timestamp() returns timestamptz language sql volatile
             as $$ select pg_catalog.clock_timestamp() + interval '61 seconds' $$;
         create function wrong.now() returns timestamptz language sql stable
             as $$ select pg_catalog.now() + interval '61 seconds' $$;
         alter database {} set search_path = wrong, pg_catalog, public",
        stage.name()
    ));
    assert_refused(&site, &["clock", "behind"]);
}
