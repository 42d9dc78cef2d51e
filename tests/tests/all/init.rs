//! `neartime init`: what it writes from samples runs as it stands, and gives the samples' own numbers.

use std::fs;

use neartime_tests::reservoir::put_lines;
use neartime_tests::site::Site;

use crate::BINARY;

/// A folder without a configuration.
fn empty() -> Site {
    let site = Site::new(BINARY, "");
    fs::remove_file(site.path().join("neartime.toml")).unwrap();
    site
}

#[test]
fn json_in_dated_folders_runs_at_once() {
    let site = empty();
    let lines = (0..30).map(|n| {
        format!(r#"{{"user_id":{},"ctx":{{"url":"/{n}"}},"ts":{},"price":{n}.5}}"#, n % 7, 1_709_200_800_000_i64 + n)
    });
    let lines: Vec<String> = lines.collect();
    put_lines(&site.path().join("shop"), "2024/02/29/10/part-0001.json.gz", lines.iter().map(String::as_str));
    let ran = site.run(["init", "shop/2024/02/29/10/part-0001.json.gz"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let config = fs::read_to_string(site.path().join("neartime.toml")).unwrap();
    for line in [
        "layout = \"%Y/%m/%d/%H/*.json.gz\"",
        "chunk = \"1h\"",
        "ctx_url = { type = \"string\", from = \"ctx.url\" }",
        "ts = { type = \"timestamp\", unit = \"ms\" }",
        "price = \"float\"",
        "user_id = \"string\"",
    ] {
        assert!(config.contains(line), "{line} is missing in\n{config}");
    }
    site.run_once(0);
    let query = "select id, sum(actions_count) from features_store.shop_events group by id order by id";
    let rows = site.rows(["sql", query]);
    let expected: Vec<Vec<String>> =
        (0..7).map(|id| vec![id.to_string(), if id < 2 { "5" } else { "4" }.to_owned()]).collect();
    assert_eq!(rows, expected);
}

#[test]
fn a_table_without_a_time_in_its_name_is_imported_first() {
    let site = empty();
    fs::write(
        site.path().join("sales.csv"),
        "at;customer;amount\n2024-02-29T10:01:00Z;17;1\n2024-02-29T10:21:00Z;17;2.5\n",
    )
    .unwrap();
    assert_eq!(site.run(["init", "sales.csv"]).code, Some(0));
    assert_eq!(site.run(["import", "sales", "sales.csv"]).code, Some(0));
    site.run_once(0);
    assert_eq!(
        site.rows(["sql", "select ten_mins, actions_count from features_store.sales_events order by 1"]),
        [["00", "1"], ["20", "1"]]
    );
}

#[test]
fn a_table_with_tabs_may_have_nothing_in_its_first_and_last_fields() {
    let site = empty();
    let rows = "note\tcustomer\tat\tcoupon\n\tann\t2024-02-29T10:01:00Z\t\n\tbob\t2024-02-29T10:02:00Z\tx\r\n";
    fs::write(site.path().join("sales.tsv"), rows).unwrap();
    let ran = site.run(["init", "sales.tsv"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let config = fs::read_to_string(site.path().join("neartime.toml")).unwrap();
    assert!(config.contains("header = true") && config.contains("coupon = \"string\""), "{config}");
    assert_eq!(site.run(["import", "sales", "sales.tsv"]).code, Some(0));
    site.run_once(0);
    assert_eq!(site.rows(["sql", "select customer, coupon from raw.sales order by 1"]), [["ann", ""], ["bob", "x"]]);
}

#[test]
fn a_date_in_another_spelling_is_a_time_where_only_one_reading_fits() {
    let site = empty();
    fs::write(site.path().join("visits.csv"), "who,when\nann,03/02/2024 9:59\nbob,20/02/2024 10:00\n").unwrap();
    let ran = site.run(["init", "visits.csv"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let config = fs::read_to_string(site.path().join("neartime.toml")).unwrap();
    assert!(config.contains("when = { type = \"timestamp\", unit = \"%d/%m/%Y %H:%M\" }"), "{config}");
    assert_eq!(site.run(["import", "visits", "visits.csv"]).code, Some(0));
    site.run_once(0);
    let query = "select day, hour, ten_mins, actions_count from features_store.visits_events order by 1";
    assert_eq!(site.rows(["sql", query]), [["03", "09", "50", "1"], ["20", "10", "00", "1"]]);
}

#[test]
fn where_no_time_is_recognised_the_line_to_write_is_told() {
    let site = empty();
    for (text, line) in [
        ("who,when\nann,03/02/2024 9:59\n", "when = { type = \"timestamp\", unit = \"%d/%m/%Y %H:%M\" }"),
        ("who,at_what_time\nann,in the morning\n", "at_what_time = { type = \"timestamp\", unit = "),
    ] {
        fs::write(site.path().join("visits.csv"), text).unwrap();
        let ran = site.run(["init", "--force", "visits.csv"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("no column was recognised as a time") && ran.stderr.contains(line),
            "{}",
            ran.stderr
        );
        let config = fs::read_to_string(site.path().join("neartime.toml")).unwrap();
        assert!(config.contains(&format!("# {line}")), "{config}");
    }
    assert_eq!(site.run(["import", "visits", "visits.csv"]).code, Some(2));
}

#[test]
fn what_cannot_be_told_is_said() {
    let site = empty();
    fs::write(site.path().join("story.txt"), "Once upon a time\nthere was a file\n").unwrap();
    fs::write(site.path().join("empty.json"), "").unwrap();
    fs::write(site.path().join("list.json"), "[\n  {\"a\": \"b\"}\n]\n").unwrap();
    for (file, text) in [
        ("story.txt", "describe them by a `pattern`"),
        ("empty.json", "has no line"),
        ("gone", "no file gone"),
        ("list.json", "jq -c '.[]'"),
        (".", "is a folder"),
    ] {
        let ran = site.run(["init", file]);
        assert_eq!(ran.code, Some(2), "{file}: {}", ran.stderr);
        assert!(ran.stderr.contains(text), "{file}: {}", ran.stderr);
        assert!(!site.path().join("neartime.toml").exists());
    }
    fs::write(site.path().join("neartime.toml"), "mine").unwrap();
    fs::write(site.path().join("a.json"), "{\"a\":\"b\"}\n").unwrap();
    assert_eq!(site.run(["init", "a.json"]).code, Some(2));
    assert_eq!(fs::read_to_string(site.path().join("neartime.toml")).unwrap(), "mine");
}
