//! Features that panic, hang, die or eat all memory are parked alone; their neighbours' rows are published.

use std::process::Command;
use std::time::Duration;

use neartime_tests::configs::{EMBEDDED, users};
use neartime_tests::reservoir::put_lines;
use neartime_tests::site::Site;

use crate::BINARY;

/// A source that switches one misbehaving feature on, with a well-behaved one beside it.
fn site(source: &str) -> Site {
    let neighbour = format!(
        r#"
[[feature]]
name = "neighbour"
source = "{source}"
engine = "count"
keys = ["id"]
select = {{ id = "user" }}
"#
    );
    let embedded = EMBEDDED.replace("lease = \"4s\"", "lease = \"2s\"\ndeadline = \"2s\"");
    let site = Site::new(BINARY, &format!("{embedded}{}{neighbour}", users(source, "")));
    let line = r#"{"user":"ann","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}"#;
    put_lines(&site.path().join("raw/2024/02/29"), "100000.gz", [line, line]);
    site
}

#[track_caller]
fn assert_parked_alone(site: &Site, feature: &str) {
    assert_eq!(site.sql("select id, actions_count from features_store.neighbour"), [["ann", "2"]]);
    assert_eq!(site.json(["get", "neighbour", "--id", "ann"])[0]["actions_count"], 2);
    let task = &site.json(["tasks", "list"])[0];
    assert_eq!(task["state"], "done", "the task is done, the run is parked");
    assert_eq!(site.json(["tasks", "list", "--state", "parked"])[0]["task"], task["task"], "and it is found by that");
    let id = task["task"].to_string();
    let shown = site.run(["tasks", "show", id.trim_matches('"')]).stdout;
    assert!(shown.contains(feature) && shown.contains("parked"), "{shown}");
}

#[test]
fn a_feature_that_panics_parks_alone() {
    let site = site("faulty_panics");
    site.run_once(1);
    assert_parked_alone(&site, "panicking");
}

/// Percent-encoded, 126 bytes come to 378: more than a file system takes for a name.
#[test]
fn a_name_that_the_features_store_cannot_hold_parks_its_runs_alone() {
    let source = users("events", "").replace("layout = \"%Y", "layout = \"{brand}/%Y");
    let feature = |name: &str| {
        format!(
            "[[feature]]\nname = \"{name}\"\nsource = \"events\"\nengine = \"count\"\nkeys = [\"id\"]\nselect = {{ id = \"user\" }}\n"
        )
    };
    let site = Site::new(BINARY, &format!("{EMBEDDED}{source}{}", feature("counted")));
    let line = r#"{"user":"ann","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}"#;
    for brand in ["short", &"é".repeat(63)] {
        put_lines(&site.path().join(format!("raw/{brand}/2024/02/29")), "100000.gz", [line]);
    }
    let ran = site.run_once(1);
    assert!(ran.stderr.contains("parked: 0 tasks, 1 runs"), "{}", ran.stderr);
    assert_eq!(site.sql("select id from features_store.counted"), [["ann"]]);
    let parked = site.json(["tasks", "list", "--state", "parked"]);
    assert_eq!((parked.len(), &parked[0]["state"]), (1, &serde_json::json!("done")), "{parked:?}");
    let shown = site.json(["tasks", "show", &parked[0]["task"].to_string()]);
    let run = shown.iter().find(|row| row["part"] == "run").unwrap();
    assert!(run["note"].as_str().unwrap().contains("takes no file name of 393 bytes"), "{run}");
    // Parked runs of a feature that is gone are nobody's to mend.
    site.configure(&format!("{EMBEDDED}{source}"));
    let ran = site.run_once(0);
    assert!(ran.stderr.contains("1 more runs are parked of features that do not run here"), "{}", ran.stderr);
    let gone = site.run(["get", "counted", "--id", "-5"]);
    assert_eq!(gone.code, Some(2), "{}", gone.stderr);
    assert!(gone.stderr.contains("no feature `counted` runs here"), "{}", gone.stderr);
}

#[test]
fn every_panic_is_told_of_its_own_feature() {
    let site = site("faulty_panics");
    site.run_once(1);
    let task = site.json(["tasks", "list"])[0]["task"].to_string();
    let shown = site.json(["tasks", "show", task.trim_matches('"')]);
    let note_of = |feature: &str| shown.iter().find(|row| row["name"] == feature).map(|row| row["note"].clone());
    assert_eq!(note_of("panicking").unwrap(), "the feature panicked: a bug in the feature");
    assert_eq!(note_of("panicking_too").unwrap(), "the feature panicked: another bug");
}

#[test]
fn a_feature_that_hangs_parks_alone() {
    let site = site("faulty_hangs");
    site.run_once(1);
    assert_parked_alone(&site, "hanging");
}

/// Starts `run --once` again each time the process dies, as a supervisor does.
fn run_until_it_survives(site: &Site, address_space_kb: Option<u64>) -> u32 {
    for deaths in 0..12 {
        let limit = address_space_kb.map_or_else(String::new, |kb| format!("ulimit -v {kb}; "));
        let command = format!("{limit}exec {BINARY} run --once");
        let ended = Command::new("sh").arg("-c").arg(command).current_dir(site.path()).output().expect("sh starts");
        if ended.status.code().is_some_and(|code| code < 2) {
            return deaths;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the process died under the feature twelve times");
}

#[test]
fn a_feature_that_kills_the_process_parks_alone() {
    let site = site("faulty_dies");
    let deaths = run_until_it_survives(&site, None);
    assert!(deaths >= 3, "it cannot have been parked after {deaths} deaths");
    assert_parked_alone(&site, "dying");
}

#[test]
fn a_feature_that_eats_all_memory_parks_alone() {
    let site = site("faulty_greedy");
    run_until_it_survives(&site, Some(6 << 20));
    assert_parked_alone(&site, "greedy");
}

#[test]
fn a_feature_that_uses_its_events_twice_is_refused_at_the_start() {
    let site = site("faulty_self_join");
    for verb in [&["check"][..], &["run", "--once"]] {
        let ran = site.run(verb.iter().copied());
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("self_join") && ran.stderr.contains("once"), "{}", ran.stderr);
    }
}
