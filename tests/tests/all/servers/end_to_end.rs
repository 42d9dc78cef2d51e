//! The demo's reservoir twice: embedded, and through a bucket, a queue, Postgres and Cassandra. Every answer is the same.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use neartime_tests::servers::{Fleet, Stage};
use neartime_tests::site::{Site, rows_of_parquet};

use crate::BINARY;

/// The features, each with its entity.
const FEATURES: [(&str, &str); 7] = [
    ("user_num_posts", "id"),
    ("user_last_login", "id"),
    ("device_last_browse", "id"),
    ("views_by_country", "country"),
    ("user_segments", "id"),
    ("user_sites", "id"),
    ("ad_network_spend", "ad_network_id"),
];

/// The demo as everybody runs it: SQLite and a directory.
fn embedded() -> Site {
    let site = Site::new(BINARY, "");
    std::fs::remove_file(site.path().join("neartime.toml")).unwrap();
    let folder = site.path().to_owned();
    let ran = site.run(["demo", "--dir", folder.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    site
}

/// The demo's configuration with everything on servers, and its files heard of through `queue`.
fn on_servers(stage: &Stage, demo: &Site, queue: &str) -> String {
    let text = std::fs::read_to_string(demo.path().join("neartime.toml")).unwrap();
    let sources = text[text.find("# App events").unwrap()..]
        .replace("\"raw-data-reservoir/", &format!("\"s3://{}/raw/", stage.bucket()))
        .replace("sqlite://air.db", &stage.postgres_url())
        .replace("format = ", &format!("discover = [\"list\", \"sqs\"]\nsqs = {{ queue = \"{queue}\" }}\nformat = "));
    stage.stores() + &sources
}

/// The raw files, by their key below `raw/`.
fn raw_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.push((key, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

pub(crate) fn wait_until(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen within {seconds} s");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What the task table says about each chunk, but for where its source lies.
pub(crate) fn tasks(site: &Site) -> Vec<serde_json::Value> {
    let columns =
        ["source", "data_chunk", "ts_to_process", "state", "generation", "done_generation", "quarantined_files"];
    let said = |task: &serde_json::Value| columns.map(|column| task[column].clone()).into_iter().collect();
    let mut tasks: Vec<serde_json::Value> = site.json(["tasks", "list"]).iter().map(said).collect();
    tasks.sort_by_key(ToString::to_string);
    tasks
}

#[test]
fn servers_answer_as_the_embedded_run_does() {
    let Some(stage) = Stage::at_hand("end_to_end") else { return };
    let embedded = embedded();
    let queue = stage.queue("raw/");
    let servers = stage.site(BINARY, &on_servers(&stage, &embedded, &queue));
    for file in ["segments.csv", "pixels.csv"] {
        std::fs::copy(embedded.path().join(file), servers.path().join(file)).unwrap();
    }
    let checked = servers.run(["check"]);
    assert_eq!(checked.code, Some(0), "{}\n{}", checked.stdout, checked.stderr);

    let fleet = Fleet::start(&servers, 2);
    for (key, bytes) in raw_files(&embedded.path().join("raw-data-reservoir")) {
        stage.put_raw(&key, bytes);
    }
    let expected = tasks(&embedded);
    wait_until("every chunk being done", 300, || tasks(&servers) == expected);
    wait_until("the queue being empty", 30, || stage.aws().messages(&queue) == 0);
    fleet.terminate();

    assert_same_files(&embedded, &stage);
    assert_same_answers(&embedded, &servers);
    assert_same_report(&embedded, &servers);
    assert_online_is_what_parquet_says(&servers, &stage);
    let rebuilt = servers.run(["online", "rebuild", "user_num_posts"]);
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    assert_online_is_what_parquet_says(&servers, &stage);
}

fn assert_same_files(embedded: &Site, stage: &Stage) {
    let theirs = stage.parquet_files();
    let ours: std::collections::BTreeMap<_, _> =
        embedded.parquet_files().into_iter().map(|(path, bytes)| (path.to_str().unwrap().to_owned(), bytes)).collect();
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (path, bytes) in &ours {
        let same = rows_of_parquet(&theirs[path]) == rows_of_parquet(bytes);
        assert!(same, "the rows of {path} have other bytes in the bucket");
    }
}

fn assert_same_answers(embedded: &Site, servers: &Site) {
    for (feature, key) in FEATURES {
        let all = format!("select * from features_store.{feature}");
        let rows = embedded.sql(&all);
        assert!(!rows.is_empty(), "{feature} has no rows");
        assert!(sorted(servers.sql(&all)) == sorted(rows), "{feature} has other rows on servers");
        let ids = format!(
            "select {key} from features_store.{feature} where {key} is not null group by 1 order by count(*) desc, 1 limit 3"
        );
        for id in embedded.sql(&ids) {
            let get = ["get", feature, "--id", id[0].as_str()];
            let online = embedded.json(get);
            assert!(!online.is_empty(), "{get:?}");
            assert_eq!(json_sorted(servers.json(get)), json_sorted(online), "{get:?}");
        }
    }
    let raw = "select event_name, count(*) from raw.horizontals group by 1 order by 1";
    assert_eq!(servers.sql(raw), embedded.sql(raw));
}

fn assert_same_report(embedded: &Site, servers: &Site) {
    let made = servers.run(["air", "run"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let report = embedded.json(["air", "show"]);
    assert!(report.len() > 50, "{} cells", report.len());
    assert_eq!(json_sorted(servers.json(["air", "show"])), json_sorted(report));
}

/// Cassandra's own rows, past neartime, against SQL over the Parquet files.
fn assert_online_is_what_parquet_says(servers: &Site, stage: &Stage) {
    let parquet = servers.json([
        "sql",
        "select id, country, brand, sum(actions_count) as actions_count from features_store.user_num_posts
         where id is not null group by 1, 2, 3",
    ]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut expected = std::collections::BTreeMap::new();
    for row in parquet {
        let key = (text(&row["id"]), text(&row["country"]), text(&row["brand"]));
        expected.insert(key, row["actions_count"].as_i64().unwrap());
    }
    let mut found = std::collections::BTreeMap::new();
    for row in stage.online_rows("user_num_posts") {
        let key = (text(&row["id"]), text(&row["country"]), text(&row["brand"]));
        *found.entry(key).or_insert(0) += row["actions_count"].as_i64().unwrap();
    }
    assert!(expected.len() > 100);
    assert_eq!(found, expected);
}

fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}

fn json_sorted(rows: Vec<serde_json::Value>) -> BTreeSet<String> {
    rows.iter().map(ToString::to_string).collect()
}
