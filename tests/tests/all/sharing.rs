//! Two processes on one SQLite file, daemons, stops, and back-fills.

use std::process::Command;
use std::time::{Duration, Instant};

use neartime_tests::configs::{EMBEDDED, users, users_features};
use neartime_tests::reservoir::put_lines;
use neartime_tests::site::Site;

use crate::BINARY;

fn config() -> String {
    format!("{EMBEDDED}{}{}", users("events", ""), users_features("events"))
}

fn put_event(site: &Site, chunk: u32, name: &str, user: &str) {
    let (hour, minute) = (chunk / 6, chunk % 6 * 10);
    let line = format!(r#"{{"user":"{user}","item":"i","amount":1,"time":"2024-02-29T{hour:02}:{minute:02}:00Z"}}"#);
    let key = format!("2024/02/29/{hour:02}{minute:02}00{name}.gz");
    put_lines(&site.path().join("raw"), &key, [line.as_str()]);
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn terminate(mut daemon: std::process::Child) {
    let killed = Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(daemon.wait().unwrap().code(), Some(0), "SIGTERM is a clean end");
}

#[test]
fn two_daemons_share_the_work_while_files_keep_coming() {
    let site = Site::new(BINARY, &config());
    for chunk in 0..60 {
        put_event(&site, chunk, "-first", "ann");
    }
    let daemons = [site.start(["run"]), site.start(["run"])];
    for chunk in 0..60 {
        put_event(&site, chunk, "-late", "bob");
        std::thread::sleep(Duration::from_millis(20));
    }
    let counted = "select id, sum(actions_count) from features_store.counted group by 1 order by 1";
    wait_until("both users in every chunk", || {
        site.run(["sql", counted, "--format", "csv"]).stdout.contains("ann,60\nbob,60")
    });
    wait_until("rest", || site.rows(["tasks", "list", "--state", "done"]).len() == 60);
    daemons.into_iter().for_each(terminate);
    for task in site.json(["tasks", "list"]) {
        assert_eq!(task["generation"], task["done_generation"], "{task}");
    }
    assert_eq!(site.json(["get", "counted", "--id", "ann"])[0]["actions_count"], 60);
    assert_eq!(site.json(["get", "counted", "--id", "bob"])[0]["actions_count"], 60);
}

#[test]
fn a_new_feature_runs_on_what_comes_and_on_old_chunks_by_backfill() {
    let all = config();
    let with_one = &all[..all.rfind("[[feature]]").expect("more than one feature")];
    let site = Site::new(BINARY, with_one);
    for chunk in 0..6 {
        put_event(&site, chunk, "", "ann");
    }
    site.run_once(0);
    site.configure(&all);
    put_event(&site, 6, "", "ann");
    site.run_once(0);
    let chunks = "select count(distinct data_chunk) from features_store.summed";
    assert_eq!(site.sql(chunks), [["1"]], "old chunks are left alone");
    let filled = site.run(["backfill", "summed", "--from", "2024-02-29T00:20:00Z", "--to", "2024-02-29T00:40:00Z"]);
    assert_eq!(filled.code, Some(0), "{}", filled.stderr);
    site.run_once(0);
    assert_eq!(site.sql(chunks), [["3"]]);
    let generations: Vec<_> = site.json(["tasks", "list"]).iter().map(|task| task["generation"].clone()).collect();
    assert_eq!(generations, [1; 7], "a backfill raises no generation");
}

#[test]
fn landing_files_are_processed_at_once() {
    let source = users("events", "chunk = \"1h\"\ndue = \"landing\"").replace("%H%M%S*", "%H/*");
    let site = Site::new(BINARY, &format!("{EMBEDDED}{source}{}", users_features("events")));
    // The hour that is running now: at its end it would be due much later.
    let hour = Command::new("date").args(["-u", "+%Y/%m/%d/%H"]).output().unwrap().stdout;
    let hour = String::from_utf8(hour).unwrap().trim().to_owned();
    let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    let line = format!(r#"{{"user":"ann","item":"i","amount":1,"time":"{}"}}"#, String::from_utf8(now).unwrap().trim());
    put_lines(&site.path().join("raw"), &format!("{hour}/part-0.gz"), [line.as_str()]);
    site.run_once(0);
    assert_eq!(site.sql("select sum(actions_count) from features_store.counted"), [["1"]]);
    put_lines(&site.path().join("raw"), &format!("{hour}/part-1.gz"), [line.as_str()]);
    site.run_once(0);
    assert_eq!(site.sql("select sum(actions_count) from features_store.counted"), [["2"]]);
}

#[test]
fn a_changed_definition_needs_a_new_version() {
    let site = Site::new(BINARY, &config());
    put_event(&site, 0, "", "ann");
    site.run_once(0);
    site.configure(&config().replace("select = { id = \"user\" }", "select = { id = \"lower(user)\" }"));
    let ran = site.run(["run", "--once"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("version"), "{}", ran.stderr);
    site.configure(&config().replace("layout = \"%Y/%m/%d/%H%M%S*.gz\"", "layout = \"%Y/%m/%d/%H%M*.gz\""));
    let ran = site.run(["check"]);
    assert_eq!(ran.code, Some(2), "a changed layout is refused: {}", ran.stderr);
}

#[test]
fn a_measure_that_a_new_version_dropped_stays_in_older_rows() {
    let summed = |version: u32, measures: &str| {
        format!(
            "{EMBEDDED}{}[[feature]]\nname = \"summed\"\nsource = \"events\"\nengine = \"rollup\"\nkeys = [\"id\"]\n\
             version = {version}\nselect = {{ id = \"user\", amount = \"amount\"{measures} }}\n",
            users("events", "")
        )
    };
    let site = Site::new(BINARY, &summed(1, ", twice = \"2 * amount\""));
    put_event(&site, 0, "", "ann");
    site.run_once(0);
    site.configure(&summed(2, ""));
    put_event(&site, 1, "", "bob");
    site.run_once(0);
    let rows = site.sql("select id, amount, twice from features_store.summed order by id");
    assert_eq!(rows, [["ann", "1", "2"], ["bob", "1", ""]]);
}
