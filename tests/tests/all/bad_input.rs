//! Every kind of bad input: what is refused is counted by reason and shown, the rest gives its rows, and nothing stops
//! the chunk.

use neartime_tests::configs::{EMBEDDED, users, users_features};
use neartime_tests::reservoir::{gzip, put};
use neartime_tests::site::Site;

use crate::BINARY;

/// A line that is good in every test.
fn good(user: &str) -> String {
    format!(r#"{{"user":"{user}","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}}"#)
}

struct Case {
    site: Site,
}

impl Case {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let config = format!("{EMBEDDED}{}{}", users("events", more), users_features("events"));
        Self { site: Site::new(BINARY, &config) }
    }

    /// A file whose only content besides `bytes` is a sound neighbour in the same chunk.
    fn run(self, bytes: impl AsRef<[u8]>, code: i32) -> Self {
        let root = self.site.path().join("raw/2024/02/29");
        put(&root, "100000-sound.gz", gzip(good("neighbour")));
        put(&root, "100100-case.gz", bytes);
        self.site.run_once(code);
        assert_eq!(self.site.rows(["tasks", "list", "--state", "done"]).len(), 1, "nothing stops the chunk");
        assert!(self.users().contains(&"neighbour".to_owned()), "the neighbour's rows are there");
        self
    }

    /// The users that the count knows, sorted.
    fn users(&self) -> Vec<String> {
        self.site.sql("select id from features_store.counted order by 1").concat()
    }

    /// Reason and line of each quarantine entry.
    fn quarantined(&self) -> Vec<(String, Option<u64>)> {
        let entries = self.site.json(["quarantine", "list"]);
        entries.iter().map(|entry| (entry["reason"].as_str().unwrap().to_owned(), entry["line"].as_u64())).collect()
    }

    #[track_caller]
    fn expect(&self, users: &[&str], quarantined: &[(&str, u64)]) {
        assert_eq!(self.users(), users);
        let expected: Vec<_> = quarantined.iter().map(|(reason, line)| ((*reason).to_owned(), Some(*line))).collect();
        assert_eq!(self.quarantined(), expected);
    }
}

/// Runs lines between two good ones and expects this refusal on line 2, or none.
#[track_caller]
fn line(bytes: impl AsRef<[u8]>, users: &[&str], refused: &[&str]) -> Case {
    let text = [good("first").as_bytes(), b"\n", bytes.as_ref(), b"\n", good("last").as_bytes()].concat();
    let case = Case::new().run(gzip(text), 0);
    let mut expected: Vec<&str> = users.iter().copied().chain(["first", "last", "neighbour"]).collect();
    expected.sort_unstable();
    let refused: Vec<(&str, u64)> = refused.iter().map(|reason| (*reason, 2)).collect();
    case.expect(&expected, &refused);
    case
}

/// A whole file is quarantined and contributes no row; `run --once` says so.
#[track_caller]
fn broken_file(bytes: impl AsRef<[u8]>) {
    let case = Case::new().run(bytes, 1);
    assert_eq!(case.users(), ["neighbour"]);
    let entries = case.site.json(["quarantine", "list"]);
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["key"].as_str().unwrap().ends_with("100100-case.gz"), "{entries:?}");
    assert!(entries[0]["line"].is_null());
    let listed = &case.site.json(["tasks", "list"])[0];
    assert_eq!(listed["quarantined_files"], 1);
    show_agrees_with_list(&case.site, listed);
}

/// What `tasks show` tells of a task in its first row, or its first table, is what `tasks list` does.
#[track_caller]
fn show_agrees_with_list(site: &Site, listed: &serde_json::Value) {
    let task = listed["task"].to_string();
    let rows = site.json(["tasks", "show", &task]);
    assert_eq!(rows[0]["part"], "task");
    for (column, value) in listed.as_object().unwrap() {
        assert_eq!(rows[0][column], *value, "{column}");
        assert!(
            rows[1..].iter().all(|row| row[column].is_null() || ["state", "generation"].contains(&column.as_str()))
        );
    }
    let broken = rows.iter().filter(|row| row["part"] == "file" && row["state"] == "quarantined").count();
    assert_eq!(listed["quarantined_files"], broken);
    let text = site.run(["tasks", "show", &task]).stdout;
    let told = text.lines().find_map(|line| line.split_once("quarantined_files")).expect("the text tells it too").1;
    assert_eq!(told.trim(), broken.to_string());
}

/// A chunk of nine files of which every third is broken, all in the same way, is read twice, however many they are: the
/// first reading finds them all, and each is tried three times.
#[cfg(target_os = "linux")]
#[test]
fn broken_files_cost_one_more_reading_together() {
    use neartime_tests::opened::Opened;
    let name = |number: usize| format!("10000{number}.gz");
    let sound: Vec<usize> = (0..9).filter(|number| number % 3 != 1).collect();
    let (case, without) = (Case::new(), Case::new());
    for number in 0..9 {
        let mut bytes = gzip(format!("{}\n{}\n", good("all"), good(&format!("user{number}"))).repeat(100));
        if sound.contains(&number) {
            put(&without.site.path().join("raw/2024/02/29"), &name(number), &bytes);
        } else {
            bytes.truncate(bytes.len() - 5);
        }
        put(&case.site.path().join("raw/2024/02/29"), &name(number), bytes);
    }
    let opened = Opened::watch(&case.site.path().join("raw/2024/02/29"));
    case.site.run_once(1);
    let times = |number: usize| (name(number), if sound.contains(&number) { 2 } else { 3 });
    assert_eq!(opened.times(), (0..9).map(times).collect());
    without.site.run_once(0);
    let rows = "select id, actions_count from features_store.counted order by 1";
    assert_eq!(case.site.sql(rows), without.site.sql(rows), "the rows of a chunk that never had them");
    assert_eq!(case.site.json(["tasks", "list"])[0]["quarantined_files"], 3);
    let entries = case.site.json(["quarantine", "list"]);
    let keys: Vec<_> = entries.iter().map(|entry| entry["key"].as_str().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(keys, ["100001.gz", "100004.gz", "100007.gz"]);
}

/// Nothing of it fits, and it is whole: only parsing tells, also where it is tried again.
#[test]
fn a_header_without_any_column_contributes_no_row() {
    let config = EMBEDDED.to_owned() + &users("events", "") + &users_features("events");
    let config = config.replace("format = \"json\"", "format = \"delimited\"\ndelimiter = \",\"\nheader = true");
    let site = Site::new(BINARY, &config);
    let root = site.path().join("raw/2024/02/29");
    put(&root, "100000.gz", gzip("user,item,amount,time\nann,i,1,2024-02-29T10:01:00Z\n"));
    put(&root, "100100.gz", gzip("a,b,c,d\nbob,i,1,2024-02-29T10:01:00Z\n"));
    site.run_once(1);
    assert_eq!(site.sql("select id from features_store.counted"), [["ann"]]);
    let entries = site.json(["quarantine", "list"]);
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["reason"].as_str().unwrap().contains("header"), "{entries:?}");
}

#[test]
fn a_truncated_gzip_contributes_no_row() {
    let whole = gzip(format!("{}\n{}\n", good("one"), good("two")).repeat(200));
    broken_file(&whole[..whole.len() - 9]);
}

#[test]
fn a_bad_checksum_after_good_lines_contributes_no_row() {
    let mut bytes = gzip(good("one"));
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    broken_file(bytes);
}

#[test]
fn trailing_garbage_fails_the_file_and_zero_padding_does_not() {
    broken_file([gzip(good("one")), b"garbage".to_vec()].concat());
    let padded = Case::new().run([gzip(good("one")), vec![0; 512]].concat(), 0);
    padded.expect(&["neighbour", "one"], &[]);
}

#[test]
fn members_are_read_to_the_last() {
    let members = [gzip(good("one") + "\n"), gzip(good("two") + "\n"), gzip(""), gzip(good("three"))].concat();
    Case::new().run(members, 0).expect(&["neighbour", "one", "three", "two"], &[]);
}

#[test]
fn an_empty_file_has_no_rows() {
    Case::new().run("", 0).expect(&["neighbour"], &[]);
    Case::new().run(gzip(""), 0).expect(&["neighbour"], &[]);
}

#[test]
fn a_file_that_is_not_gzip_is_read_as_it_is() {
    Case::new().run(good("plain"), 0).expect(&["neighbour", "plain"], &[]);
    let zstd = zstd::encode_all(good("z").as_bytes(), 3).unwrap();
    Case::new().run(zstd, 0).expect(&["neighbour", "z"], &[]);
}

#[test]
fn lines_that_are_no_objects_are_refused() {
    line("no JSON at all", &[], &["not_json_object"]);
    line("[1, 2]", &[], &["not_json_object"]);
    line(r#"{"user":"cut","time":"2024-02-29T10:0"#, &[], &["line_cut_off"]);
    line(r#"{"user":"bad",,"time":"2024-02-29T10:01:00Z","item":"i","amount":1}"#, &[], &["bad_json"]);
}

#[test]
fn a_value_of_the_wrong_type_is_null_and_its_row_stays() {
    let case =
        line(r#"{"user":"odd","item":"i","amount":"many","time":"2024-02-29T10:01:00Z"}"#, &["odd"], &["misfit"]);
    assert_eq!(case.site.sql("select id, amount from features_store.summed where id = 'odd'"), [["odd", ""]]);
    assert_eq!(case.site.json(["quarantine", "list"])[0]["column"], "amount");
}

#[test]
fn what_was_refused_stays_known_when_one_feature_runs_again() {
    let case = Case::new().run(format!("{}\nnonsense\n", good("eva").replace(":1,", ":\"one\",")), 0);
    let refused = case.quarantined();
    assert_eq!(refused, [("not_json_object".to_owned(), Some(2)), ("misfit".to_owned(), Some(1))]);
    // It never looks at the column that did not fit.
    let day = ["--from", "2024-02-29T00:00:00Z", "--to", "2024-03-01T00:00:00Z"];
    let armed = case.site.run(["backfill", "counted"].into_iter().chain(day));
    assert_eq!(armed.code, Some(0), "{}", armed.stderr);
    case.site.run_once(0);
    assert_eq!(case.quarantined(), refused);
}

#[test]
fn impossible_times_drop_the_line() {
    line(r#"{"user":"timeless","item":"i","amount":1}"#, &[], &["missing_event_time"]);
    line(r#"{"user":"odd","item":"i","amount":1,"time":"yesterday"}"#, &[], &["bad_event_time"]);
    line(r#"{"user":"far","item":"i","amount":1,"time":"2999-01-01T00:00:00Z"}"#, &[], &["too_far_ahead"]);
    line(r#"{"user":"old","item":"i","amount":1,"time":"1999-01-01T00:00:00Z"}"#, &[], &["too_far_behind"]);
}

#[test]
fn a_line_of_100_mb_is_refused_in_bounded_memory() {
    let long = [b"{\"user\":\"".to_vec(), vec![b'x'; 100 << 20], b"\"}".to_vec()].concat();
    line(long, &[], &["line_too_long"]);
}

#[test]
fn depth_of_ten_thousand_is_no_trouble() {
    let (open, close) = ("[".repeat(10_000), "]".repeat(10_000));
    let text = format!(r#"{{"deep":{open}{close},"user":"deep","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}}"#);
    line(text, &["deep"], &[]);
    let unclosed = format!(r#"{{"deep":{open},"user":"deep","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}}"#);
    line(unclosed, &[], &["bad_json"]);
}

#[test]
fn text_that_is_no_text_is_null() {
    let invalid =
        [br#"{"user":""#.as_slice(), &[0xff, 0xfe], br#"","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}"#];
    line(invalid.concat(), &[], &["misfit"]);
    line(r#"{"user":"\ud800","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}"#, &[], &["misfit"]);
}

#[test]
fn nul_is_a_character_that_stores_survive() {
    let case = line(r#"{"user":"a\u0000b","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}"#, &["a\0b"], &[]);
    assert_eq!(case.site.sql("select count(*) from features_store.counted where length(id) = 3"), [["1"]]);
}

#[test]
fn repeated_keys_crlf_blank_lines_and_a_bom_give_their_rows() {
    line(r#"{"user":"one","user":"two","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}"#, &["one"], &[]);
    let text = format!("\u{feff}{}\r\n\r\n  {} \r\n", good("one"), good("two"));
    Case::new().run(gzip(text), 0).expect(&["neighbour", "one", "two"], &[]);
}

#[test]
fn a_null_or_empty_entity_gives_no_row_but_in_a_rollup() {
    let text = [
        r#"{"user":"","item":"i","amount":2,"time":"2024-02-29T10:01:00Z"}"#,
        r#"{"user":null,"item":"i","amount":4,"time":"2024-02-29T10:01:00Z"}"#,
        r#"{"item":"i","amount":8,"time":"2024-02-29T10:01:00Z"}"#,
    ]
    .join("\n");
    let case = Case::new().run(gzip(text), 0);
    case.expect(&["neighbour"], &[]);
    let summed = case.site.sql("select amount, row_count from features_store.summed where id is null");
    assert_eq!(summed, [["14", "3"]], "totals add up");
}

#[test]
fn required_columns_drop_the_line() {
    let case = Case::with("required = [\"item\"]");
    let text = [good("one"), r#"{"user":"two","amount":1,"time":"2024-02-29T10:01:00Z"}"#.to_owned()].join("\n");
    case.run(gzip(text), 0).expect(&["neighbour", "one"], &[("missing_required", 2)]);
}

#[test]
fn columns_may_have_any_name() {
    let config = format!(
        r#"{EMBEDDED}
[[source]]
name = "odd"
location = "raw"
layout = "%Y/%m/%d/%H%M%S*.gz"
format = "json"
[source.columns]
user = "string"
order = "string"
userId = "string"
"id.orig_h" = "string"
"with space" = "string"
time = {{ type = "timestamp", unit = "iso" }}

[[feature]]
name = "odd_names"
source = "odd"
engine = "count"
keys = ["id", "ordered", "camel", "dotted", "spaced"]
select = {{ id = "user", ordered = "order", camel = "clean_str(userId)", dotted = "id.orig_h", spaced = "with space" }}
"#
    );
    let site = Site::new(BINARY, &config);
    let text =
        r#"{"user":"u","order":"o","userId":" c ","id.orig_h":"d","with space":"s","time":"2024-02-29T10:01:00Z"}"#;
    put(&site.path().join("raw"), "2024/02/29/100000.gz", gzip(text));
    site.run_once(0);
    let rows = site.sql("select id, ordered, camel, dotted, spaced, actions_count from features_store.odd_names");
    assert_eq!(rows, [["u", "o", "c", "d", "s", "1"]]);
}

#[test]
fn one_odd_value_under_a_filter_fails_nothing() {
    let config = format!(
        r#"{EMBEDDED}
[[source]]
name = "requests"
location = "raw"
layout = "%Y/%m/%d/%H%M%S*.gz"
format = "json"
[source.columns]
host = "string"
status = "string"
size = "string"
time = {{ type = "timestamp", unit = "iso" }}

[[feature]]
name = "ok_requests"
source = "requests"
engine = "rollup"
where = "status = 200"
keys = ["id"]
select = {{ id = "host", size = "cast(size as bigint)", each = "100 / cast(size as bigint)" }}
"#
    );
    let site = Site::new(BINARY, &config);
    let request = |status: &str, size: &str| {
        format!(r#"{{"host":"h","status":{status},"size":"{size}","time":"2024-02-29T10:01:00Z"}}"#)
    };
    let text = [request("200", "10"), request("\"-\"", "10"), request("200", "ten"), request("200", "0")].join("\n");
    put(&site.path().join("raw"), "2024/02/29/100000.gz", gzip(text));
    site.run_once(0);
    let rows = site.sql("select id, size, each, row_count from features_store.ok_requests");
    assert_eq!(rows, [["h", "10", "10", "3"]]);
    let task = site.rows(["tasks", "list"])[0][0].clone();
    let shown = site.run(["tasks", "show", &task]);
    assert!(shown.stdout.contains("division_by_zero"), "what became null is counted:\n{}", shown.stdout);
}

#[test]
fn rows_outside_their_chunk_are_kept_or_quarantined() {
    let text = [good("inside"), good("outside").replace("10:01", "10:11")].join("\n");
    Case::with("outside = \"keep\"").run(gzip(&text), 0).expect(&["inside", "neighbour", "outside"], &[]);
    let refused = [("outside_chunk", 2)];
    Case::with("outside = \"quarantine\"").run(gzip(&text), 0).expect(&["inside", "neighbour"], &refused);
}
