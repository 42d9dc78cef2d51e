//! Late and changed files: exactly their chunk is made again, and what vanished is gone everywhere.

use neartime_tests::configs::{EMBEDDED, users, users_features};
use neartime_tests::reservoir::put_lines;
use neartime_tests::site::Site;

use crate::BINARY;

fn line(user: &str, item: &str, amount: i64, time: &str) -> String {
    format!(r#"{{"user":"{user}","item":"{item}","amount":{amount},"time":"2024-02-29T{time}Z"}}"#)
}

fn put(site: &Site, name: &str, lines: &[String]) {
    put_lines(&site.path().join("raw/2024/02/29"), name, lines.iter().map(String::as_str));
}

fn site() -> Site {
    let site = Site::new(BINARY, &format!("{EMBEDDED}{}{}", users("events", ""), users_features("events")));
    put(&site, "100000.gz", &[line("ann", "x", 1, "10:01:00"), line("bob", "x", 2, "10:02:00")]);
    put(&site, "101000.gz", &[line("ann", "y", 4, "10:11:00"), line("cid", "y", 8, "10:12:00")]);
    site.run_once(0);
    site
}

fn generations(site: &Site) -> Vec<(String, i64)> {
    let generation = |task: &serde_json::Value| task["generation"].as_i64().unwrap();
    site.json(["tasks", "list"])
        .iter()
        .map(|task| (task["data_chunk"].as_str().unwrap().to_owned(), generation(task)))
        .collect()
}

/// The online answer of a feature for an entity: the values of its rows.
fn get(site: &Site, feature: &str, id: &str, value: &str) -> Vec<serde_json::Value> {
    site.json(["get", feature, "--id", id]).iter().map(|row| row[value].clone()).collect()
}

#[test]
fn a_late_file_makes_exactly_its_chunk_again() {
    let site = site();
    let before = site.parquet_files();
    put(&site, "100500-late.gz", &[line("ann", "x", 16, "10:05:00"), line("dot", "z", 32, "10:06:00")]);
    site.run_once(0);
    assert_eq!(generations(&site), [("2024-02-29T10:00:00Z".to_owned(), 2), ("2024-02-29T10:10:00Z".to_owned(), 1)]);
    let changed: Vec<_> = site.parquet_files().into_iter().filter(|(path, bytes)| before[path] != *bytes).collect();
    assert_eq!(changed.len(), 4, "one file of each feature");
    assert!(changed.iter().all(|(path, _)| path.to_string_lossy().contains("ten_mins=00")));
    let counts = site.sql("select id, sum(actions_count) from features_store.counted group by 1 order by 1");
    assert_eq!(counts, [["ann", "3"], ["bob", "1"], ["cid", "1"], ["dot", "1"]]);
    assert_eq!(get(&site, "counted", "ann", "actions_count"), [3]);
    assert_eq!(get(&site, "summed", "ann", "amount"), [21]);
    site.run_once(0);
    assert_eq!(generations(&site)[0].1, 2, "what is known already changes nothing");
}

#[test]
fn users_that_vanish_from_a_file_vanish_everywhere() {
    let site = site();
    put(&site, "100000.gz", &[line("ann", "x", 1, "10:01:00")]);
    site.run_once(0);
    assert!(site.sql("select id from features_store.counted where id = 'bob'").is_empty());
    for feature in ["counted", "members", "summed"] {
        let rows = site.json(["get", feature, "--id", "bob"]);
        assert!(rows.is_empty(), "{feature} still answers {rows:?}");
    }
    assert_eq!(get(&site, "latest", "bob", "last_action_timestamp").len(), 1, "the latest action is never deleted …");
    let rebuilt = site.run(["online", "rebuild", "latest"]);
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    assert!(get(&site, "latest", "bob", "last_action_timestamp").is_empty(), "… but by a rebuild");
    assert_eq!(get(&site, "latest", "ann", "last_action_timestamp"), [1_709_201_460]);
}

#[test]
fn a_rebuild_restores_a_lost_online_store() {
    let site = site();
    let before: Vec<_> =
        ["counted", "latest", "members", "summed"].map(|f| site.json(["get", f, "--id", "ann"])).into();
    for file in ["online.db", "online.db-wal", "online.db-shm"] {
        let _ = std::fs::remove_file(site.path().join(file));
    }
    for feature in ["counted", "latest", "members", "summed"] {
        assert_eq!(site.run(["online", "rebuild", feature]).code, Some(0));
    }
    let after: Vec<_> = ["counted", "latest", "members", "summed"].map(|f| site.json(["get", f, "--id", "ann"])).into();
    assert_eq!(before, after);
    assert!(before.iter().all(|rows| !rows.is_empty()));
}

#[test]
fn what_changed_while_the_task_database_was_lost_is_published() {
    let site = site();
    for item in ["y", "z"] {
        put(&site, "100000.gz", &[line("ann", item, 1, "10:01:00")]);
        site.run_once(0);
    }
    assert_eq!(generations(&site)[0].1, 3);
    for file in ["neartime.db", "neartime.db-wal", "neartime.db-shm"] {
        let _ = std::fs::remove_file(site.path().join(file));
    }
    put(&site, "100000.gz", &[line("eve", "x", 1, "10:01:00")]);
    site.run_once(0);
    let chunk = "select id from features_store.counted where ten_mins = '00'";
    assert_eq!(site.sql(chunk), [["eve"]]);
    assert_eq!(get(&site, "counted", "eve", "actions_count"), [1]);
    assert!(get(&site, "counted", "bob", "actions_count").is_empty(), "what vanished is gone online too");
    assert_eq!(generations(&site), [("2024-02-29T10:00:00Z".to_owned(), 4), ("2024-02-29T10:10:00Z".to_owned(), 1)]);
}

#[test]
fn files_that_are_gone_park_their_task_until_that_is_accepted() {
    let site = site();
    put(&site, "100300.gz", &[line("bob", "x", 1, "10:03:00")]);
    site.run_once(0);
    put(&site, "100500-late.gz", &[line("eve", "x", 1, "10:05:00")]);
    for gone in ["100000.gz", "100300.gz"] {
        std::fs::remove_file(site.path().join("raw/2024/02/29").join(gone)).unwrap();
    }
    let ran = site.run_once(1);
    assert!(ran.stdout.contains("parked") || ran.stderr.contains("parked"), "{} {}", ran.stdout, ran.stderr);
    let parked = site.rows(["tasks", "list", "--state", "parked"]);
    assert_eq!(parked.len(), 1);
    assert_eq!(site.run(["tasks", "retry", "--accept-missing"]).code, Some(0));
    // Both at once.
    site.run_once(0);
    let counts = site.sql("select id, sum(actions_count) from features_store.counted group by 1 order by 1");
    assert_eq!(counts, [["ann", "1"], ["cid", "1"], ["eve", "1"]]);
}

#[test]
fn windows_fold_whole_chunks() {
    let site = site();
    let at = |as_of: &str, window: &str| {
        site.json(["get", "counted", "--id", "ann", "--window", window, "--as-of", as_of])
            .first()
            .map_or(0, |row| row["actions_count"].as_i64().unwrap())
    };
    assert_eq!(at("2024-02-29T10:20:00Z", "20m"), 2);
    assert_eq!(at("2024-02-29T10:20:00Z", "10m"), 1);
    assert_eq!(at("2024-02-29T10:10:00Z", "1d"), 1);
    assert_eq!(at("2024-02-29T10:00:00Z", "1d"), 0);
    assert_eq!(site.run(["get", "latest", "--id", "ann", "--window", "1d"]).code, Some(2));
}
