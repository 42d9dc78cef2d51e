//! A disk that is full while something is written to it: it is named, nothing half-written is ever seen, nothing is
//! parked, and once there is room again everything is as if there always had been.

use std::process::{Child, Stdio};
use std::time::Duration;

use neartime_tests::configs::{EMBEDDED, users, users_features};
use neartime_tests::reservoir::put_lines;
use neartime_tests::site::Site;

use crate::BINARY;

const DISK_KB: u32 = 4096;
const CHUNKS: [&str; 4] = ["28/100000", "28/101000", "29/100000", "29/101000"];

/// Every part that is written lies in a folder of its own.
fn site() -> Site {
    let membership = |name: &str, amount: u32| {
        format!(
            r#"
[[feature]]
name = "{name}"
source = "events"
engine = "segment_membership"
keys = ["id"]
where = "amount = {amount}"
select = {{ id = "user", item = "item" }}
"#
        )
    };
    let air = r#"
[air]
segments = "segments"
sites = "sites"
database = "sqlite://report/air.db"
min_overlap = 0
min_site_audience = 1
"#;
    let embedded = EMBEDDED.replace("sqlite://neartime.db", "sqlite://tasks/neartime.db");
    let embedded = embedded.replace("sqlite://online.db", "sqlite://online/online.db");
    let features = [users_features("events"), membership("segments", 1), membership("sites", 2)].concat();
    let site = Site::new(BINARY, &format!("{embedded}{}{features}{air}", users("events", "")));
    for folder in ["raw", "tasks", "online", "report"] {
        std::fs::create_dir(site.path().join(folder)).unwrap();
    }
    site
}

/// A name that does not compress.
fn user_of(day: &str, user: usize) -> String {
    let number = day.parse::<u128>().unwrap() * 1_000 + user as u128;
    format!("{:032x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// Some hundred users of a chunk, first in a segment and then on a site.
fn put_events(site: &Site) {
    for chunk in CHUNKS {
        let (day, time) = chunk.split_once('/').unwrap();
        let (hour, ten) = (&time[..2], &time[2..3]);
        let line = |user: usize, amount: u32, minute: u32| {
            let (user, item) = (user_of(day, user), user % 5);
            let at = format!("2024-02-{day}T{hour}:{ten}{minute}:00Z");
            format!(r#"{{"user":"{user}","item":"{item}","amount":{amount},"time":"{at}"}}"#)
        };
        let lines: Vec<String> = (0..400).flat_map(|user| [line(user, 1, 1), line(user + 1, 2, 5)]).collect();
        let folder = site.path().join("raw/2024/02").join(day);
        put_lines(&folder, &format!("{time}.gz"), lines.iter().map(String::as_str));
    }
}

/// A site whose `folder` is a small disk, and one that never lacks room and is done.
fn sites(folder: &str) -> Option<(Site, Site)> {
    let Some(small) = site().with_small_disk(folder, DISK_KB) else {
        eprintln!("skipped: nobody may mount a file system here");
        return None;
    };
    let roomy = site();
    put_events(&roomy);
    roomy.run_once(0);
    Some((small, roomy))
}

fn begin(site: &Site) -> Child {
    site.command(["run", "--once"]).stderr(Stdio::piped()).spawn().unwrap()
}

/// Files that can be seen are whole, and those of the undisturbed site.
#[track_caller]
fn assert_nothing_half(site: &Site, undisturbed: &Site) {
    let whole = undisturbed.parquet_files();
    for (path, bytes) in site.parquet_files() {
        assert!(whole.get(&path) == Some(&bytes), "{path:?} is not as it should be");
    }
}

#[track_caller]
fn assert_same(site: &Site, undisturbed: &Site) {
    assert!(site.parquet_files() == undisturbed.parquet_files(), "the same files, byte for byte");
    assert_eq!(site.rows(["tasks", "list", "--state", "done"]).len(), CHUNKS.len());
    for feature in ["counted", "latest", "members", "summed"] {
        for user in [user_of("28", 0), user_of("29", 200), user_of("29", 399)] {
            let (got, expected) =
                (site.json(["get", feature, "--id", &user]), undisturbed.json(["get", feature, "--id", &user]));
            assert!(!expected.is_empty() && got == expected, "{feature} of {user}: {got:?}, not {expected:?}");
        }
    }
}

#[test]
fn a_features_store_without_room_ends_with_3_and_names_the_file() {
    let Some((site, undisturbed)) = sites("features_store") else { return };
    put_events(&site);
    site.disk().fill(16 << 10);
    let ran = site.run_once(3);
    let error = ran.stderr.lines().find(|line| line.starts_with("error:")).expect("it says why it ended");
    assert!(error.contains("features_store/") && error.contains("No space left on device"), "{error}");
    assert!(site.parquet_files().len() < undisturbed.parquet_files().len());
    assert_nothing_half(&site, &undisturbed);
    assert!(site.rows(["tasks", "list", "--state", "parked"]).is_empty());
    site.disk().clear();
    site.run_once(0);
    assert_same(&site, &undisturbed);
}

/// The last is what SQLite says where its shared memory cannot grow.
fn is_about_room(said: &str) -> bool {
    ["disk is full", "No space left on device", "disk I/O error"].iter().any(|words| said.contains(words))
}

/// The same process goes on once there is room again.
#[track_caller]
fn goes_on(folder: &str, but: u64) {
    let Some((site, undisturbed)) = sites(folder) else { return };
    // The databases are there before the disk is full.
    site.run_once(0);
    put_events(&site);
    site.disk().fill(but);
    let mut running = begin(&site);
    std::thread::sleep(Duration::from_secs(4));
    assert!(running.try_wait().unwrap().is_none(), "it waits for room");
    assert_nothing_half(&site, &undisturbed);
    site.disk().clear();
    let ran = running.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    assert!(is_about_room(&said), "{said}");
    assert_same(&site, &undisturbed);
}

#[test]
fn a_features_store_that_gets_room_again_goes_on() {
    goes_on("features_store", 16 << 10);
}

#[test]
fn an_online_store_that_gets_room_again_goes_on() {
    goes_on("online", 100 << 10);
}

#[test]
fn a_task_database_that_gets_room_again_goes_on() {
    // Full while files are registered, while tasks are claimed, and while they are completed.
    for but in [40 << 10, 72 << 10, 104 << 10] {
        goes_on("tasks", but);
    }
}

#[test]
fn a_task_database_that_cannot_be_made_ends_with_3_and_is_named() {
    let Some((site, undisturbed)) = sites("tasks") else { return };
    put_events(&site);
    site.disk().fill(16 << 10);
    let ran = site.run_once(3);
    assert!(ran.stderr.contains("tasks/neartime.db") && ran.stderr.contains("is there room"), "{}", ran.stderr);
    site.disk().clear();
    site.run_once(0);
    assert_same(&site, &undisturbed);
}

/// A report that does not get room leaves the one before; with room the next is what it would have been.
#[track_caller]
fn report_without_room(folder: &str, code: i32, named: &str) {
    let Some((site, undisturbed)) = sites(folder) else { return };
    put_events(&site);
    site.run_once(0);
    let report = |site: &Site, day: &str| {
        let as_of = format!("2024-{day}T00:00:00Z");
        let ran = site.run(["air", "run", "--as-of", &as_of]);
        (ran.code, ran.stderr)
    };
    assert_eq!(report(&site, "02-29").0, Some(0));
    assert_eq!(report(&undisturbed, "02-29").0, Some(0));
    let before = site.json(["air", "show"]);
    assert!(!before.is_empty() && before == undisturbed.json(["air", "show"]));
    site.disk().fill(0);
    let (ended, said) = report(&site, "03-01");
    assert_eq!(ended, Some(code), "{said}");
    assert!(said.contains(named) && is_about_room(&said), "{said}");
    site.disk().clear();
    assert_eq!(site.json(["air", "show"]), before, "the old report stays");
    assert_eq!(report(&site, "03-01").0, Some(0));
    assert_eq!(report(&undisturbed, "03-01").0, Some(0));
    let after = site.json(["air", "show"]);
    assert!(after != before && after == undisturbed.json(["air", "show"]));
}

#[test]
fn a_user_database_without_room_leaves_the_old_report() {
    report_without_room("features_store_udb", 4, "features_store_udb");
}

#[test]
fn a_reports_database_without_room_leaves_the_old_report() {
    report_without_room("report", 3, "the report's database");
}
