//! The roles that `infra/production/postgres.sql` makes may do what they are for, and nothing else.

use std::fmt::Write as _;
use std::process::Command;

use neartime_tests::configs::{EMBEDDED, users, users_features};
use neartime_tests::reservoir::put_lines;
use neartime_tests::servers::Servers;
use neartime_tests::site::Site;

use crate::BINARY;

const SCRIPT: &str = include_str!("../../../../infra/production/postgres.sql");
const ROLES: [&str; 4] = ["", "_owner", "_reader", "_reports"];
const LINE: &str = r#"{"user":"ann","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}"#;

/// Runs a script as a person does; tells whether it succeeded.
fn psql(url: &str, script: &str) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, script).unwrap();
    let ran = Command::new("psql").args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", url, "-f"]).arg(file.path()).output();
    let ran = ran.expect("psql is installed with Postgres");
    if ran.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ran.stderr).into_owned()) }
}

#[test]
fn the_fleet_works_on_tables_that_only_their_owner_makes() {
    let Some(Servers { postgres: admin, .. }) = Servers::at_hand() else { return };
    // The administrator of a test server may be called `neartime` himself.
    let name = format!("t{}_roles", std::process::id());
    let reports = format!("{name}_of_reports");
    let mut script = SCRIPT.replace("neartime", &name);
    for before in ["database ", "connect "] {
        script = script.replace(&format!("{before}reports"), &format!("{before}{reports}"));
    }
    for role in ROLES {
        writeln!(script, "alter role {name}{role} password 'secret';").unwrap();
    }
    psql(&admin, &script).unwrap();
    let server = admin.rsplit_once('/').unwrap().0.rsplit_once('@').unwrap().1;
    let url = |role: &str, database: &str| format!("postgres://{name}{role}:secret@{server}/{database}");
    let site = Site::new(BINARY, "");
    let be = |role: &str| {
        let tasks = EMBEDDED.replace("sqlite://neartime.db", &url(role, &name));
        site.configure(&(tasks + &users("events", "") + &users_features("events")));
    };
    put_lines(&site.path().join("raw"), "2024/02/29/100000.gz", [LINE]);

    be("");
    assert_eq!(site.run(["check"]).code, Some(3), "the fleet makes no tables");
    be("_owner");
    let made = site.run(["check"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    be("");
    site.run_once(0);
    assert_eq!(site.rows(["sql", "select count(*) from features_store.counted"]), [["1"]]);
    be("_reader");
    assert_eq!(site.rows(["tasks", "list"]).len(), 1);
    for role in ["", "_reader"] {
        psql(&url(role, &name), "create table mine (a int)").unwrap_err();
    }
    psql(&url("_reader", &name), "delete from tasks").unwrap_err();
    psql(&url("_reports", &reports), "create table air_report (a int)").unwrap();
    psql(&url("", &reports), "create table mine (a int)").unwrap_err();

    let roles = ROLES.map(|role| format!("drop role {name}{role};")).concat();
    psql(&admin, &format!("drop database {name} with (force);\ndrop database {reports} with (force);\n{roles}"))
        .unwrap();
}
