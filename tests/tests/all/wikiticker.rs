//! A real day: every number of the three expected tables, from SQL over the store and from lookups.

use std::collections::BTreeMap;
use std::path::PathBuf;

use neartime_tests::shared;
use neartime_tests::site::Site;

use crate::BINARY;

const SOURCE: &str = r#"
[tasks]
database = "sqlite://neartime.db"
[features_store]
location = "features_store"
[online_store]
url = "sqlite://online.db"
[run]
workers = WORKERS
lease = "3s"

[[source]]
name = "edits"
location = "in/edits"
layout = "{project}/%Y/%m/%d/%Y%m-%d-%H%M%S.gz"
format = "json"
outside = "OUTSIDE"
[source.columns]
time = { type = "timestamp", unit = "iso" }
user = "string"
page = "string"
added = "int"
deleted = "int"
delta = "int"
"#;

/// The same four features as the Rust structs of `neartime_tests::wiki`.
const FEATURES: &str = r#"
[[feature]]
name = "edit_count"
source = "edits"
engine = "count"
keys = ["id"]
select = { id = "user" }

[[feature]]
name = "edit_last"
source = "edits"
engine = "last_action_time"
keys = ["id"]
select = { id = "user" }

[[feature]]
name = "edit_pages"
source = "edits"
engine = "segment_membership"
keys = ["id"]
select = { id = "user", item = "page" }

[[feature]]
name = "edit_sums"
source = "edits"
engine = "rollup"
keys = ["id"]
select = { id = "user", added = "added", deleted = "deleted", delta = "delta" }
"#;

fn config(features: &str, workers: u32, outside: &str) -> String {
    format!("{SOURCE}{features}").replace("WORKERS", &workers.to_string()).replace("OUTSIDE", outside)
}

fn site(features: &str, workers: u32) -> Option<(Site, PathBuf)> {
    let data = shared::wikiticker()?;
    let site = Site::new(BINARY, &config(features, workers, "keep"));
    shared::unpack_reservoir(&data, site.path());
    Some((site, data))
}

/// `user_ten_min.csv` from SQL.
const USER_TEN_MIN: &str = "
    select c.id, c.data_chunk, c.actions_count, s.added, s.deleted, s.delta, p.last_time
    from features_store.edit_count c
    join features_store.edit_sums s on s.id = c.id and s.data_chunk = c.data_chunk
    join (select id, data_chunk, max(max_ts) last_time from features_store.edit_pages group by 1, 2) p
      on p.id = c.id and p.data_chunk = c.data_chunk";

fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}

/// Instants with exactly three digits of the second, as the expected tables write them.
fn millis(text: &str) -> String {
    let whole = text.trim_end_matches('Z');
    match whole.split_once('.') {
        Some((seconds, digits)) => format!("{seconds}.{digits:0<3}Z"),
        None => format!("{whole}.000Z"),
    }
}

fn with_millis(mut rows: Vec<Vec<String>>, columns: &[usize]) -> Vec<Vec<String>> {
    for row in &mut rows {
        for &column in columns {
            row[column] = millis(&row[column]);
        }
    }
    sorted(rows)
}

#[track_caller]
fn assert_rows(what: &str, found: &[Vec<String>], expected: &[Vec<String>]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of rows");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{what}");
    }
}

/// Compares SQL's answers with all three tables.
fn assert_sql_agrees(site: &Site, data: &std::path::Path) {
    assert_rows(
        "user_ten_min.csv",
        &with_millis(site.sql(USER_TEN_MIN), &[6]),
        &with_millis(shared::expected(data, "user_ten_min.csv"), &[6]),
    );
    let totals = "select c.data_chunk, sum(c.actions_count), count(*), max(p.pages)
        from features_store.edit_count c
        join (select data_chunk, count(distinct item) pages from features_store.edit_pages group by 1) p
          on p.data_chunk = c.data_chunk
        group by 1";
    let expected = shared::expected(data, "ten_min_totals.csv");
    assert_rows("ten_min_totals.csv", &sorted(site.sql(totals)), &sorted(expected));
    let last = "select c.id, c.events, p.first_time, p.last_time
        from (select id, sum(actions_count) events from features_store.edit_count group by 1) c
        join (select id, min(min_ts) first_time, max(max_ts) last_time from features_store.edit_pages group by 1) p
          on p.id = c.id";
    assert_rows(
        "user_last_action.csv",
        &with_millis(site.sql(last), &[2, 3]),
        &with_millis(shared::expected(data, "user_last_action.csv"), &[2, 3]),
    );
    let seconds = "select id, max(last_action_timestamp) from features_store.edit_last group by 1";
    let expected: Vec<_> = shared::expected(data, "user_last_action.csv")
        .into_iter()
        .map(|row| vec![row[0].clone(), epoch_seconds(&row[3]).to_string()])
        .collect();
    assert_rows("last action in seconds", &sorted(site.sql(seconds)), &sorted(expected));
}

fn epoch_seconds(text: &str) -> i64 {
    text.parse::<neartime_model::Instant>().expect("an instant of the expected table").as_secs()
}

#[test]
fn sql_agrees_with_every_expected_table() {
    let Some((site, data)) = site(FEATURES, 2) else { return };
    site.run_once(0);
    assert_sql_agrees(&site, &data);
    let states = site.rows(["tasks", "list"]);
    assert_eq!(states.len(), 140, "one task for each chunk");
}

#[test]
fn lookups_agree_with_every_user() {
    let Some((site, data)) = site(FEATURES, 2) else { return };
    site.run_once(0);
    // Every number through the online store's own client, and a sample of users through the command line.
    let online = online_rows(&site);
    for row in shared::expected(&data, "user_last_action.csv") {
        let (user, events, last) = (&row[0], row[1].parse::<i64>().unwrap(), epoch_seconds(&row[3]));
        assert_eq!(online.get(user), Some(&(events, last)), "{user}");
    }
    for row in shared::expected(&data, "user_last_action.csv").iter().step_by(997) {
        let counted = site.json(["get", "edit_count", "--id", &row[0]]);
        assert_eq!(counted[0]["actions_count"].to_string(), row[1], "{row:?}");
        let last = site.json(["get", "edit_last", "--id", &row[0]]);
        assert_eq!(last[0]["last_action_timestamp"], epoch_seconds(&row[3]), "{row:?}");
    }
}

/// Events and last action of every user, folded by SQLite itself from the online tables.
fn online_rows(site: &Site) -> BTreeMap<String, (i64, i64)> {
    let query = "select c.id, c.events, l.last_action_timestamp
        from (select id, sum(actions_count) events from edit_count group by id) c
        join edit_last l on l.id = c.id";
    let path = site.path().join("online.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(query).fetch_all(&mut connection).await.unwrap();
        rows.into_iter().map(|(id, events, last)| (id, (events, last))).collect()
    })
}

#[test]
fn rust_features_any_number_of_workers_and_any_order_give_the_same_bytes() {
    let Some((first, data)) = site(FEATURES, 1) else { return };
    first.run_once(0);
    let expected = first.parquet_files();
    assert_eq!(expected.len(), 4 * 140);

    let Some((rust, _)) = site("", 3) else { return };
    rust.run_once(0);
    assert_sql_agrees(&rust, &data);
    assert_same_files("Rust features", &expected, &rust.parquet_files());

    let shuffled = Site::new(BINARY, &config(FEATURES, 2, "keep"));
    let mut files = raw_files(&first);
    fastrand::Rng::with_seed(11).shuffle(&mut files);
    for portion in files.chunks(150) {
        for file in portion {
            copy(&first, &shuffled, file);
        }
        shuffled.run_once(0);
        shuffled.run_once(0);
    }
    assert_same_files("files in random order, each listed twice", &expected, &shuffled.parquet_files());
}

#[test]
fn a_kill_in_the_middle_loses_and_doubles_nothing() {
    let Some((site, data)) = site(FEATURES, 2) else { return };
    let mut killed = site.start(["run", "--once"]);
    let store = site.path().join("features_store");
    while !store.is_dir() || site.parquet_files().len() < 100 {
        assert!(killed.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(site.parquet_files().len() < 4 * 140, "it was killed too late");
    site.run_once(0);
    let Some((whole, _)) = self::site(FEATURES, 3) else { return };
    whole.run_once(0);
    assert_same_files("a run that was killed and one that was not", &whole.parquet_files(), &site.parquet_files());
    assert_sql_agrees(&site, &data);
    let events: i64 = online_rows(&site).values().map(|(events, _)| events).sum();
    assert_eq!(events, 39_244);
}

fn raw_files(site: &Site) -> Vec<PathBuf> {
    let folder = site.path().join("in/edits/wikipedia/2015/09/12");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path().strip_prefix(site.path()).unwrap().to_owned()).collect();
    files.sort();
    files
}

fn copy(from: &Site, to: &Site, file: &std::path::Path) {
    std::fs::create_dir_all(to.path().join(file).parent().unwrap()).unwrap();
    std::fs::copy(from.path().join(file), to.path().join(file)).unwrap();
}

#[track_caller]
fn assert_same_files(what: &str, expected: &BTreeMap<PathBuf, Vec<u8>>, found: &BTreeMap<PathBuf, Vec<u8>>) {
    assert!(expected.keys().eq(found.keys()), "{what}: other files");
    for (path, bytes) in expected {
        assert!(found[path] == *bytes, "{what}: {} has other bytes", path.display());
    }
}

/// All lines of the day, in the order of their files.
fn all_lines(site: &Site) -> Vec<String> {
    let mut lines = Vec::new();
    for file in raw_files(site) {
        let bytes = std::fs::read(site.path().join(file)).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

fn time_of(line: &str) -> neartime_model::Instant {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["time"].as_str().unwrap().parse().unwrap()
}

/// Writes files of 500 lines, each named by its first row, so that most spill over their chunk. Returns how many rows
/// lie outside the chunk of their file.
fn write_spilling(site: &Site, lines: &[String]) -> usize {
    let mut outside = 0;
    for rows in lines.chunks(500) {
        let first = time_of(&rows[0]);
        let chunk = neartime_model::ChunkWidth::TEN_MINUTES.chunk_of(first);
        outside += rows.iter().filter(|row| !chunk.contains(time_of(row))).count();
        let name = first.to_utc().unwrap().format("%Y/%m/%d/%Y%m-%d-%H%M%S.gz").to_string();
        let root = site.path().join("in/edits/wikipedia");
        neartime_tests::reservoir::put_lines(&root, &name, rows.iter().map(String::as_str));
    }
    outside
}

const TOTALS: &str = "select sum(added), sum(deleted), sum(delta) from features_store.edit_sums";

#[test]
fn rows_that_spill_over_their_chunks_are_kept_or_quarantined() {
    let Some((original, data)) = site(FEATURES, 2) else { return };
    let lines = all_lines(&original);
    assert_eq!(lines.len(), 39_244);

    let kept = Site::new(BINARY, &config(FEATURES, 2, "keep"));
    let outside = write_spilling(&kept, &lines);
    assert!(outside > 5_000, "most files spill over");
    kept.run_once(0);
    assert_eq!(kept.sql(TOTALS), [["9385573", "394298", "8991275"]]);
    let last = "select id, sum(actions_count) from features_store.edit_count group by 1";
    let expected = shared::expected(&data, "user_last_action.csv").into_iter().map(|row| row[..2].to_vec()).collect();
    assert_rows("events by user", &sorted(kept.sql(last)), &sorted(expected));

    let quarantined = Site::new(BINARY, &config(FEATURES, 2, "quarantine"));
    assert_eq!(write_spilling(&quarantined, &lines), outside);
    quarantined.run_once(0);
    let events = quarantined.sql("select sum(actions_count) from features_store.edit_count");
    assert_eq!(events, [[(lines.len() - outside).to_string()]]);
}

#[test]
fn import_cuts_one_unordered_file_into_the_same_day() {
    let Some((original, data)) = site(FEATURES, 2) else { return };
    let mut lines = all_lines(&original);
    fastrand::Rng::with_seed(5).shuffle(&mut lines);
    let site = Site::new(BINARY, &config(FEATURES, 2, "quarantine"));
    neartime_tests::reservoir::put_lines(site.path(), "dump.txt", lines.iter().map(String::as_str));
    std::fs::create_dir_all(site.path().join("in/edits")).unwrap();
    let imported = site.run(["import", "edits", "dump.txt", "--set", "project=wikipedia"]);
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    site.run_once(0);
    assert_sql_agrees(&site, &data);
}
