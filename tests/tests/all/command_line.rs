//! What scripts rely on: exit codes, formats, and that the demo shows what it planted.

use std::fs;

use neartime_tests::reservoir::{put, put_lines};
use neartime_tests::site::Site;

use crate::BINARY;

const COMPLETE: &str = include_str!("../../../examples/complete.toml");
const SMALL: &str = r#"
[online_store]
url = "sqlite://online.db"
[[source]]
name = "events"
location = "raw"
layout = "%Y/%m/%d/%H%M%S.gz"
columns = { user = "string", note = "string", at = { type = "timestamp", unit = "iso" } }
[[feature]]
name = "notes"
source = "events"
engine = "count"
keys = ["user", "note"]
select = { user = "user", note = "note" }
"#;

fn small() -> Site {
    let site = Site::new(BINARY, SMALL);
    let lines = [
        r#"{"user":"ann","note":"a \"b\", c","at":"2024-02-29T10:01:00Z"}"#,
        r#"{"user":"ann","at":"2024-02-29T10:02:00Z"}"#,
    ];
    put_lines(&site.path().join("raw"), "2024/02/29/100000.gz", lines);
    site
}

#[test]
fn a_lookup_makes_no_table() {
    let site = small();
    // The second would find what the first had made.
    for _ in 0..2 {
        let ran = site.run(["get", "notes", "--id", "ann", "--json"]);
        assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "[]"), "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing of `notes` has been published yet"), "{}", ran.stderr);
    }
    site.run_once(0);
    let ran = site.run(["get", "notes", "--id", "nobody", "--json"]);
    assert_eq!((ran.code, ran.stdout.trim(), ran.stderr.as_str()), (Some(0), "[]", ""));
}

#[test]
fn the_demo_shows_exactly_what_it_planted() {
    let site = Site::new(BINARY, "");
    let folder = site.path().join("demo");
    let ran = site.run(["demo", "--dir", folder.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("All as planted"));
    let again = site.run(["demo", "--dir", folder.to_str().unwrap()]);
    assert_eq!(again.code, Some(2), "a folder that is in use is refused: {}", again.stderr);
    let config = folder.join("neartime.toml");
    let config = config.to_str().unwrap();
    let report = site.json(["air", "show", "--config", config, "--site", "goals.example", "--sort", "index"]);
    assert_eq!(report[0]["segment_name"], "Sport");
    assert_eq!(report[0].as_object().unwrap().len(), 15);
    for (flag, name) in [("--site", "nope"), ("--group", "-none")] {
        let none = site.run(["air", "show", "--config", config, flag, name]);
        let said = format!("there is no {} `{name}` in the live report", flag.trim_start_matches('-'));
        assert!(none.code == Some(0) && none.stderr.contains(&said), "{}", none.stderr);
    }
    let udb = site.rows(["sql", "select count(*) from udb.user_sites", "--config", config]);
    assert_eq!(udb.len(), 1);
}

#[test]
fn an_id_may_begin_with_a_hyphen() {
    let site = small();
    put_lines(&site.path().join("raw"), "2024/02/29/100100.gz", [r#"{"user":"-5","at":"2024-02-29T10:01:00Z"}"#]);
    site.run_once(0);
    assert_eq!(site.json(["get", "notes", "--id", "-5"])[0]["user"], "-5");
    let short = site.run(["get", "notes", "--id", "-5", "--window", "9m"]);
    assert_eq!(short.code, Some(2), "{}", short.stderr);
    assert!(short.stderr.contains("--window 9m is shorter than the chunks of `notes`: take 10m"), "{}", short.stderr);
}

#[test]
fn what_names_of_files_hold_does_not_reach_the_terminal() {
    let site = small();
    put_lines(&site.path().join("raw"), "2024/02/29/10\u{1b}[2J\n.gz", ["{}"]);
    let ran = site.run(["check"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("1 files of `events` do not fit its layout") && !ran.stderr.contains('\u{1b}'),
        "{}",
        ran.stderr
    );
}

#[test]
fn check_tells_where_what_was_there_is_no_longer() {
    let site = small();
    site.run_once(0);
    assert!(!site.run(["check"]).stderr.contains("is not there"));
    fs::rename(site.path().join("features_store"), site.path().join("moved")).unwrap();
    let ran = site.run(["check"]);
    assert!(ran.stderr.contains("the features store features_store is not there"), "{}", ran.stderr);
    site.configure(&SMALL.replace("columns = {", "since = \"2030-01-01\"\ncolumns = {"));
    let ran = site.run(["check"]);
    assert!(ran.stderr.contains("at or after its `since` of 2030-01-01"), "{}", ran.stderr);
}

#[test]
fn a_log_that_has_grown_is_imported_with_a_warning() {
    let site = Site::new(BINARY, &SMALL.replace("%H%M%S.gz", "%H%M%S*.gz"));
    let line = |second: u32| format!("{{\"user\":\"ann\",\"at\":\"2024-02-29T10:01:{second:02}Z\"}}\n");
    fs::write(site.path().join("log"), line(1)).unwrap();
    assert!(!site.run(["import", "events", "log"]).stderr.contains("warning"));
    fs::write(site.path().join("log"), line(1) + &line(2)).unwrap();
    let ran = site.run(["import", "events", "log"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("log went into chunks in which earlier imports have files"), "{}", ran.stderr);
    let marks: Vec<_> = ran.stderr.split('`').filter(|part| part.len() == 17 && part.starts_with('i')).collect();
    let names: Vec<_> = fs::read_dir(site.path().join("raw/2024/02/29")).unwrap().map(|entry| entry.unwrap()).collect();
    let has = |mark: &str| names.iter().any(|name| name.file_name().to_string_lossy().contains(mark));
    assert!(marks.len() == 2 && marks.iter().all(|mark| has(mark)), "{}", ran.stderr);
}

#[test]
fn the_complete_configuration_passes_the_check() {
    let site = Site::new(BINARY, COMPLETE);
    for source in ["horizontals", "memberships", "visits", "deliveries"] {
        fs::create_dir_all(site.path().join("raw-data-reservoir/in").join(source)).unwrap();
    }
    fs::write(site.path().join("segments.csv"), "id,group,name\n").unwrap();
    fs::write(site.path().join("pixels.csv"), "id,name\n").unwrap();
    put(&site.path().join("raw-data-reservoir/in/visits"), "2018/notes.txt", "not of the layout");
    let sources = site.json(["check"]);
    let column = |name: &str| sources.iter().map(|source| source[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("source"), ["horizontals", "memberships", "visits", "deliveries"]);
    assert_eq!(column("worst_case_age"), ["13m", "13m", "13m", "1d 3m"]);
    assert_eq!(column("unmatched"), [0, 0, 1, 0]);
    let ran = site.run(["check"]);
    assert!(ran.stderr.contains("2018/notes.txt"), "{}", ran.stderr);
    assert!(!site.path().join("features_store").exists(), "nothing is processed");
}

#[test]
fn tasks_that_no_feature_reads_wait_for_one_and_it_is_said() {
    let (source, _) = SMALL.split_once("[[feature]]").unwrap();
    let site = small();
    site.configure(source);
    let said = "tasks wait until one does";
    let checked = site.run(["check"]);
    assert!(checked.code == Some(0) && checked.stderr.contains(said), "{}", checked.stderr);
    let ran = site.run_once(0);
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(site.rows(["tasks", "list", "--state", "waiting"]).len(), 1);
    assert_eq!(site.sql("select count(*) from raw.events"), [["2"]]);
    site.configure(SMALL);
    let ran = site.run_once(0);
    assert!(!ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(site.sql("select sum(actions_count) from features_store.notes"), [["2"]]);
}

#[test]
fn the_configuration_is_refused_with_the_line() {
    let site = Site::new(BINARY, &format!("[run]\nwrokers = 2\n{SMALL}"));
    let ran = site.run(["check"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("wrokers"), "{}", ran.stderr);
    site.configure(&SMALL.replace("\"user\", note", "\"usr\", note"));
    let ran = site.run(["run", "--once"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("select.user") && ran.stderr.contains("usr"), "{}", ran.stderr);
}

/// A build without Postgres refuses the address, one with it does not find the host.
#[test]
fn a_password_is_never_shown() {
    let config = format!("[tasks]\ndatabase = \"postgres://ann:hunter2@db.invalid/tasks\"\n{SMALL}");
    let ran = Site::new(BINARY, &config).run(["tasks", "list"]);
    let (code, text) = if cfg!(feature = "servers") { (3, "db.invalid") } else { (2, "this build lacks Postgres") };
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    assert!(ran.stderr.contains(text) && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

#[test]
fn exit_codes_tell_scripts_what_to_do() {
    let site = small();
    site.run_once(0);
    for (args, code) in [
        (&["sql", "selec 1"][..], 2),
        (&["sql", "select * from features_store.nothing"], 2),
        (&["sql", "drop table features_store.notes"], 2),
        (&["get", "nothing", "--id", "ann"], 2),
        (&["tasks", "show", "99"], 2),
        (&["nonsense"], 2),
        (&["get", "notes"], 2),
        (&["backfill", "notes", "--from", "2024-03-01", "--to", "2024-02-01"], 2),
        (&["check"], 0),
        (&["features"], 0),
        (&["completions", "bash"], 0),
        (&["--help"], 0),
    ] {
        let ran = site.run(args.iter().copied());
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
    }
    fs::rename(site.path().join("raw"), site.path().join("away")).unwrap();
    assert_eq!(site.run(["check"]).code, Some(3), "a location that is away");
}

#[test]
fn what_is_misspelt_or_out_of_place_is_named() {
    let site = small();
    site.run_once(0);
    for (args, code, text) in [
        (&["tasks", "list", "--source", "evnets"][..], 2, "no source `evnets`"),
        (&["quarantine", "list", "--source", "evnets"], 2, "no source `evnets`"),
        (&["quarantine", "list", "--task", "99"], 2, "no task 99"),
        (&["sql", "create table copies as select 1"], 2, "only reads"),
        (&["sql", "insert into features_store.notes values ('a', 'b', 1)"], 2, "only reads"),
    ] {
        let ran = site.run(args.iter().copied());
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(text), "{args:?}: {}", ran.stderr);
    }
    let ran = site.run(["sql", "select * from raw.events"]);
    assert!(ran.stderr.contains("bytes scanned") && !ran.stderr.contains(" 0 bytes"), "{}", ran.stderr);

    let published = site.path().join("features_store").join(site.parquet_files().keys().next().unwrap());
    fs::write(&published, "no parquet").unwrap();
    let ran = site.run(["sql", "select * from features_store.notes"]);
    let key = published.strip_prefix("/").unwrap().to_str().unwrap();
    assert!(ran.stderr.contains(key) && ran.stderr.contains("backfill"), "{}", ran.stderr);

    site.configure(&format!("[features_store]\nlocation = \"raw/2024/02/29/100000.gz\"\n{SMALL}"));
    let ran = site.run(["check"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("could not write into the features store raw/2024"), "{}", ran.stderr);
    site.configure(&format!("{SMALL}[air]\nsegments = \"nots\"\nsites = \"nots\"\n"));
    let ran = site.run(["check"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("line 16: `air.segments`"), "{}", ran.stderr);
    // The same feature with another key online: nothing is made, and nothing runs.
    site.configure(
        &SMALL
            .replace("[\"user\", \"note\"]", "[\"note\", \"user\"]")
            .replace("[online", "[tasks]\ndatabase = \"sqlite://other.db\"\n[online"),
    );
    let ran = site.run(["check"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("online table `notes` has the keys"), "{}", ran.stderr);
}

#[test]
fn a_task_that_needs_many_claims_is_one_task() {
    let config = SMALL
        .replace("engine = \"count\"", "engine = \"rollup\"")
        .replace("note = \"note\" }", "note = \"note\", n = \"9223372036854775807\" }");
    let site = Site::new(BINARY, &config);
    let line = r#"{"user":"ann","note":"n","at":"2024-02-29T10:01:00Z"}"#;
    put_lines(&site.path().join("raw"), "2024/02/29/100000.gz", [line, line]);
    let ran = site.run_once(1);
    assert!(ran.stderr.contains("1 files found, 1 tasks completed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("parked: 0 tasks, 1 runs"), "{}", ran.stderr);
}

#[test]
fn run_once_gives_back_what_it_holds_when_asked_to_stop() {
    let site = small();
    let chunks = 300;
    for minute in (0..chunks).map(|chunk| chunk * 10) {
        let at = format!("2024-03-{:02}T{:02}:{:02}:00Z", 1 + minute / 1_440, minute / 60 % 24, minute % 60);
        let line = format!(r#"{{"user":"ann","at":"{at}"}}"#);
        let key = at[..16].replace(['-', 'T'], "/").replace(':', "");
        put_lines(&site.path().join("raw"), &format!("{key}00.gz"), [line.as_str()]);
    }
    let mut running = site.start(["run", "--once"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while site.rows(["tasks", "list", "--state", "done"]).is_empty() {
        assert!(std::time::Instant::now() < deadline, "it does nothing");
    }
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
    let in_state = |state| site.rows(["tasks", "list", "--state", state]).len();
    assert_eq!(in_state("running"), 0);
    assert!(in_state("waiting") > 0, "it was stopped in the midst of its work");
    site.run_once(0);
    assert_eq!(in_state("done"), chunks + 1);
}

#[test]
fn every_format_says_the_same() {
    let site = small();
    site.run_once(0);
    let query = "select user, note, actions_count, data_chunk from features_store.notes order by note nulls first";
    let json = site.json(["sql", query]);
    let expected = serde_json::json!([
        {"user": "ann", "note": null, "actions_count": 1, "data_chunk": "2024-02-29T10:00:00Z"},
        {"user": "ann", "note": "a \"b\", c", "actions_count": 1, "data_chunk": "2024-02-29T10:00:00Z"},
    ]);
    assert_eq!(serde_json::Value::from(json), expected);
    let csv = site.run(["sql", query, "--format", "csv"]).stdout;
    let lines = ["user,note,actions_count,data_chunk", "ann,,1,2024-02-29T10:00:00Z"];
    assert_eq!(csv, format!("{}\n{}\nann,\"a \"\"b\"\", c\",1,2024-02-29T10:00:00Z\n", lines[0], lines[1]));
    assert_eq!(site.json(["sql", query, "--limit", "1"]).len(), 1);
    assert_eq!(site.run(["sql", &format!("{query} limit 0"), "--json"]).stdout, "[]\n");
}

#[test]
fn the_daemon_stops_cleanly_when_asked() {
    let site = small();
    let mut daemon = site.start(["run"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while site.rows(["tasks", "list", "--state", "done"]).is_empty() {
        assert!(std::time::Instant::now() < deadline, "the daemon does nothing");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}
