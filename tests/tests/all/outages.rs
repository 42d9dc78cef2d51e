//! A store or the raw location that is away for a while parks nothing; all is done once it is back.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use neartime_tests::configs::{EMBEDDED, users, users_features};
use neartime_tests::reservoir::put_lines;
use neartime_tests::site::Site;

use crate::BINARY;

fn site() -> Site {
    // Beside it the same files as a source that no feature reads: its tasks wait, and nobody waits for them.
    let sources = users("events", "") + &users("unread", "");
    let site = Site::new(BINARY, &format!("{EMBEDDED}{sources}{}", users_features("events")));
    for minute in ["100000", "101000", "102000"] {
        let line = format!(
            r#"{{"user":"ann","item":"i","amount":1,"time":"2024-02-29T{}:{}:00Z"}}"#,
            &minute[..2],
            &minute[2..4]
        );
        put_lines(&site.path().join("raw/2024/02/29"), &format!("{minute}.gz"), [line.as_str()]);
    }
    site
}

/// Runs `run --once` while `path` is away, brings it back after two seconds, and expects that nothing was lost.
fn with_something_away(site: &Site, path: &Path, obstacle: impl FnOnce(&Path)) {
    let aside = site.path().join("aside");
    let was_there = path.exists();
    if was_there {
        fs::rename(path, &aside).unwrap();
    }
    obstacle(path);
    let started_at = Instant::now();
    let mut running = site.start(["run", "--once"]);
    std::thread::sleep(Duration::from_secs(2));
    assert!(running.try_wait().unwrap().is_none(), "it must wait for what is away");
    let _ = fs::remove_file(path);
    if was_there {
        fs::rename(&aside, path).unwrap();
    }
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert!(started_at.elapsed() < Duration::from_secs(60));
    assert_eq!(site.rows(["tasks", "list", "--state", "done"]).len(), 3);
    assert_eq!(site.rows(["tasks", "list", "--state", "waiting", "--source", "unread"]).len(), 3);
    assert_eq!(site.json(["get", "counted", "--id", "ann"])[0]["actions_count"], 3);
    assert_eq!(site.sql("select sum(actions_count) from features_store.counted"), [["3"]]);
}

#[test]
fn the_raw_location_comes_back() {
    let site = site();
    let raw = site.path().join("raw");
    with_something_away(&site, &raw, |_| {});
}

#[test]
fn the_features_store_comes_back() {
    let site = site();
    let store = site.path().join("features_store");
    // A file where the folder should be: nothing can be created below it, not even by root.
    with_something_away(&site, &store, |path| fs::write(path, "in the way").unwrap());
}

#[test]
fn who_gives_up_leaves_no_claim_behind() {
    let embedded = EMBEDDED.replace("lease = \"4s\"", "lease = \"600s\"");
    let sources = users("faulty_hangs", "") + &users("events", "") + &users_features("events");
    let site = Site::new(BINARY, &format!("{embedded}{sources}"));
    let line = r#"{"user":"ann","item":"i","amount":1,"time":"2024-02-29T10:00:00Z"}"#;
    put_lines(&site.path().join("raw/2024/02/29"), "100000.gz", [line]);
    fs::write(site.path().join("features_store"), "in the way").unwrap();
    // One worker hangs in its feature until the other one has lost its patience.
    let ran = site.run(["run", "--once"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("a service stayed away"), "{}", ran.stderr);
    assert_eq!(site.rows(["tasks", "list", "--state", "waiting"]).len(), 2);
}

#[test]
fn a_listing_ends_when_nothing_can_be_registered() {
    let site = site();
    site.run_once(0);
    let database = site.path().join("neartime.db");
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'refused'); END";
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::raw_sql(refuse).execute(&mut connection).await.unwrap();
    });
    // More than what a listing may be ahead of the registering.
    let folder = site.path().join("raw/2024/03/01");
    fs::create_dir_all(&folder).unwrap();
    for file in 0..5_000 {
        fs::write(folder.join(format!("{:02}{:02}00-{file}.gz", file / 60 % 24, file % 60)), "").unwrap();
    }
    let mut running = site.start(["run", "--once"]);
    let started_at = Instant::now();
    let code = loop {
        match running.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if started_at.elapsed() > Duration::from_secs(100) => {
                running.kill().unwrap();
                panic!("it hangs");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert_eq!(code, Some(4));
}

#[test]
fn a_location_that_stays_away_ends_with_3() {
    let site = site();
    fs::rename(site.path().join("raw"), site.path().join("aside")).unwrap();
    let ran = site.run(["check"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("raw"), "{}", ran.stderr);
}

/// Nobody listens where the queue should be. The client tries for a while before it says so, each time.
#[test]
#[cfg(feature = "servers")]
fn a_queue_that_stays_away_is_not_taken_for_empty() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let queue = format!("http://{nobody}/123456789012/files");
    let channel = format!("discover = [\"list\", \"sqs\"]\nsqs = {{ queue = \"{queue}\" }}");
    let aws = "[s3]\nregion = \"us-east-1\"\n";
    let site = Site::new(BINARY, &format!("{EMBEDDED}{aws}{}{}", users("events", &channel), users_features("events")))
        .with_variable("AWS_ACCESS_KEY_ID", "test")
        .with_variable("AWS_SECRET_ACCESS_KEY", "test");
    fs::create_dir(site.path().join("raw")).unwrap();
    let ran = site.run(["run", "--once"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("a service stayed away") && ran.stderr.contains(&queue), "{}", ran.stderr);
}
