use std::path::Path;

use super::*;

const COMPLETE: &str = include_str!("../../../examples/complete.toml");

fn parsed(text: &str) -> Result<Config, ConfigError> {
    parsed_with(text, &[])
}

fn parsed_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    Config::parse("neartime.toml", text, &examples, &Environment::new(pairs))
}

/// The smallest configuration, with more in its one source.
fn with_source(more: &str) -> String {
    format!(
        "[[source]]\nname = \"s\"\nlocation = \"in\"\nlayout = \"%Y/%m/%d/%H%M*.gz\"\n{more}\n\
         [source.columns]\nid = \"string\"\nat = {{ type = \"timestamp\", unit = \"ms\" }}\n"
    )
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let error = parsed(text).unwrap_err().to_string();
    for part in expected {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn the_complete_configuration_is_read() {
    let config = parsed(COMPLETE).unwrap();
    let names: Vec<_> = config.sources.iter().map(|source| source.source.name.to_string()).collect();
    assert_eq!(names, ["horizontals", "memberships", "visits", "deliveries"]);
    let horizontals = &config.sources[0].source;
    assert_eq!(horizontals.delay.to_string(), "3m");
    assert_eq!(horizontals.since.map(|since| since.to_string()).as_deref(), Some("2018-08-01T00:00:00Z"));
    assert_eq!(horizontals.unique.as_deref(), Some("event_id"));
    assert_eq!(horizontals.columns.len(), 7);
    assert!(config.sources.iter().all(|source| source.channels.is_empty()));
    let rollup = &config.features[3];
    let select: Vec<_> = rollup.spec.select.iter().map(|(column, _)| column.as_str()).collect();
    assert_eq!(select, ["ad_network_id", "ads_impressions", "ads_revenue", "ad_spend"], "in the order of the file");
    assert_eq!(config.features[1].spec.retention.map(|span| span.to_string()).as_deref(), Some("90d"));
    let air = config.air.unwrap();
    assert_eq!((air.thresholds.min_overlap, air.thresholds.min_site_audience), (100, 1_000));
    assert_eq!(config.run.workers, 2);
    assert_eq!(config.run.memory, Size(512_000_000));
}

#[test]
fn every_example_is_read() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut read = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Config::load(&path, &Environment::default()).unwrap_or_else(|error| panic!("{error}"));
            read += 1;
        }
    }
    assert!(read >= 3);
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    refused(&format!("{}\n[run]\nwrokers = 3\n", with_source("")), &["line 11", "`wrokers`", "[run]", "workers"]);
    refused(&with_source("dealy = \"3m\""), &["line 5", "`dealy`", "[[source]] s"]);
    refused(&format!("{}x = {{ type = \"int\", untit = \"s\" }}\n", with_source("")), &["line 9", "`untit`"]);
    refused(&format!("colour = 1\n{}", with_source("")), &["line 1", "`colour`"]);
}

#[test]
fn wrong_values_say_what_is_allowed() {
    refused(&with_source("chunk = \"7m\""), &["line 5", "`source.s.chunk`", "10m"]);
    refused(&with_source("due = \"soon\""), &["\"soon\"", "\"end\"", "\"landing\""]);
    refused(&with_source("delay = 3"), &["must be text in quotes", "a number"]);
    refused(&with_source("format = \"json\"\ndelimiter = \"|\""), &["line 6", "`source.s.delimiter`", "delimited"]);
    refused(&with_source("event_time = \"when\""), &["when"]);
    refused(&with_source("since = \"someday\""), &["someday"]);
    refused(&with_source("layout = \"%Q\""), &["line 5"]);
    refused(&format!("[run]\nmemory = \"much\"\n{}", with_source("")), &["line 2", "512MB"]);
    refused(&format!("[run]\nworkers = 0\n{}", with_source("")), &["line 2", "at least 1"]);
}

#[test]
fn all_problems_come_at_once() {
    let error = parsed("[run]\nworkers = \"two\"\nlease = \"long\"\n[tusks]\n").unwrap_err().to_string();
    assert_eq!(error.lines().count(), 4, "{error}");
}

#[test]
fn a_source_that_is_wrong_is_not_missing_too() {
    let error = parsed(&with_source("chunk = \"7m\"")).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    for text in ["", "source = []", "[run]\nworkers = 2"] {
        assert!(parsed(text).unwrap_err().to_string().contains("has no [[source]]"), "{text}");
    }
}

#[test]
fn the_environment_overrides_scalars() {
    let variables = [("NEARTIME_RUN__WORKERS", "7"), ("NEARTIME_SOURCE__S__LOCATION", "elsewhere")];
    let config = parsed_with(&with_source(""), &variables).unwrap();
    assert_eq!(config.run.workers, 7);
    assert_eq!(config.sources[0].location.to_string(), "elsewhere");
    let config = parsed_with(&with_source(""), &[("NEARTIME_ONLINE_STORE__URL", "sqlite://other.db")]).unwrap();
    assert!(matches!(config.online_store.unwrap().database, Database::Sqlite(path) if path.ends_with("other.db")));
    let error = parsed_with(&with_source(""), &[("NEARTIME_RUN__WROKERS", "7")]).unwrap_err().to_string();
    assert!(error.contains("NEARTIME_RUN__WROKERS"), "{error}");
    let error = parsed_with(&with_source(""), &[("NEARTIME_RUN__WORKERS", "many")]).unwrap_err().to_string();
    assert!(error.contains("NEARTIME_RUN__WORKERS"), "{error}");
    let delimited = with_source("format = \"delimited\"\nheader = [\"at\"]");
    let config = parsed_with(&delimited, &[("NEARTIME_SOURCE__S__HEADER", "true")]).unwrap();
    assert!(format!("{:?}", config.sources[0].source).contains("header: FirstLine"));
}

#[test]
fn passwords_are_in_no_message() {
    let text = format!("[tasks]\ndatabase = \"postgres://ann:hunter2@db/tasks\"\n{}", with_source(""));
    let config = parsed(&text).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for text in [
        "[tasks]\ndatabase = \"mysql://ann:hunter2@db/tasks\"\n",
        "[tasks]\ndatabase = \"postgres://ann:hunter2@db/tasks\n",
        "[online_store]\nurl = \"redis://ann:hunter2@db\"\n",
    ] {
        assert!(!parsed(text).unwrap_err().to_string().contains("hunter2"));
    }
}

#[test]
fn channels_need_their_tables() {
    refused(&with_source("discover = [\"list\", \"sqs\"]"), &["[source.sqs]", "queue"]);
    refused(&with_source("discover = [\"mail\"]"), &["\"mail\"", "kinesis"]);
    let text = with_source("discover = [\"sqs\"]")
        .replace("[source.columns]", "[source.sqs]\nqueue = \"https://q\"\n[source.columns]");
    let config = parsed(&text).unwrap();
    assert_eq!(config.sources[0].channels, [source::Channel::Sqs { queue: "https://q".to_owned() }]);
    let idle = parsed(&text.replace("[\"sqs\"]", "[\"list\"]")).unwrap();
    assert!(idle.sources[0].channels.is_empty());
    assert_eq!(idle.sources[0].idle, ["sqs"]);
}

#[test]
fn features_are_checked() {
    let feature = |more: &str| {
        format!("{}\n[[feature]]\nname = \"f\"\nsource = \"s\"\nengine = \"count\"\n{more}\n", with_source(""))
    };
    let select = "select = { id = \"id\", country = \"'za'\", brand = \"'olx'\" }";
    assert_eq!(parsed(&feature(select)).unwrap().features[0].spec.keys, None);
    refused(&feature("select = { id = \"id\" }"), &["line 10", "`country`", "not selected"]);
    refused(&feature(""), &["select"]);
    refused(&feature(&format!("{select}\nkeys = [\"Id\"]")), &["`Id`", "[a-z_][a-z0-9_]*"]);
    refused(&feature(&format!("{select}\nversion = 0")), &["at least 1"]);
    refused(&feature(&format!("{select}\nversion = 202611221200")), &["version", "at most 4294967295"]);
    refused(&feature(&format!("{select}\nratios = {{ r = \"a / b\" }}")), &["rollup"]);
    refused(&feature(select).replace("\"count\"", "\"counting\""), &["\"counting\"", "\"last_action_time\""]);
    let twice = format!("{}[[feature]]\nname = \"f\"\nsource = \"s\"\nengine = \"count\"\n{select}\n", feature(select));
    refused(&twice, &["line 15", "twice"]);
}

#[test]
fn air_is_checked() {
    for (what, with, expected) in [
        ("min_overlap = 100", "min_overlap = 10", "at least 50"),
        ("order = \"before\"", "order = \"after\"", "\"any\""),
        ("schedule = \"0 */10 * * * *\"", "schedule = \"now and then\"", "air.schedule"),
        ("schedule = \"0 */10 * * * *\"", "schedule = \"*/10 * * * *\"", "has 5 fields, not six: second, minute"),
        ("schedule = \"0 */10 * * * *\"", "schedule = \"0 0 0 * * someday\"", "write second, minute"),
        ("schedule = \"0 */10 * * * *\"", "schedule = \"0 0 0 31 2 *\"", "never comes"),
        ("groups = \"segments.csv\"", "groups = \"nowhere.csv\"", "nowhere.csv"),
        ("groups = \"segments.csv\"", "groups = \"pixels.csv\"", "id,group,name"),
        ("segments = \"user_segments\"", "segments = \"user_num_posts\"", "segment_membership"),
        ("segments_alive = \"30d\"", "segments_alive = { user_sites = \"always\" }", "segments"),
    ] {
        assert!(COMPLETE.contains(what), "{what}");
        refused(&COMPLETE.replacen(what, with, 1), &[expected]);
    }
    let groups = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(groups.path(), "id,group,name\n11,travel,Beach\n11,travel,Sea\n").unwrap();
    let named = format!("groups = {:?}", groups.path());
    refused(&COMPLETE.replacen("groups = \"segments.csv\"", &named, 1), &["`air.groups`", ":3: segment `11`"]);
    let text = COMPLETE.replacen("segments_alive = \"30d\"", "segments_alive = { user_segments = \"always\" }", 1);
    assert_eq!(parsed(&text).unwrap().air.unwrap().segments_alive, [neartime_air::Alive::Always]);
    assert_eq!(
        parsed(&COMPLETE.replacen("min_overlap = 100", "min_overlap = 0", 1))
            .unwrap()
            .air
            .unwrap()
            .thresholds
            .min_overlap,
        0
    );
}

#[test]
fn the_configuration_for_production_can_be_used() {
    let text = include_str!("../../../infra/production/neartime.toml");
    let config = Config::parse("neartime.toml", text, Path::new("/etc/neartime"), &Environment::default()).unwrap();
    assert!(config.needs_cloud());
    assert_eq!(config.run.scratch, Path::new("/var/lib/neartime"));
}

#[test]
fn a_stream_of_events_needs_a_layout_that_tells_its_files_apart() {
    let parse = |layout: &str, discover: &str| {
        let text = format!(
            "[[source]]\nname = \"visits\"\nlocation = \"s3://raw/in\"\nlayout = \"{layout}\"\n\
             discover = {discover}\ncolumns = {{ user = \"string\" }}\n[source.sqs]\nqueue = \"https://q\"\n\
             [source.kinesis]\nstream = \"visits\"\ncarries = \"events\"\n"
        );
        let parsed = Config::parse("neartime.toml", &text, Path::new("/"), &Environment::default());
        parsed.map(drop).map_err(|error| error.to_string())
    };
    parse("%Y/%m/%d/%H%M-{shard}-{sequence}.gz", "[\"kinesis\"]").unwrap();
    assert!(parse("%Y/%m/%d/%H%M*.gz", "[\"kinesis\"]").unwrap_err().contains("{shard}"));
    let both = parse("%Y/%m/%d/%H%M-{shard}-{sequence}.gz", "[\"kinesis\", \"sqs\"]").unwrap_err();
    assert!(both.contains("alone"), "{both}");
}

#[test]
fn the_features_store_must_not_lie_among_raw_files() {
    let parse = |store: &str| {
        let text = format!(
            "[features_store]\nlocation = \"{store}\"\n[[source]]\nname = \"visits\"\nlocation = \"s3://raw/in\"\n\
             layout = \"%Y/%m/%d/%H%M*.gz\"\ncolumns = {{ user = \"string\" }}\n"
        );
        let parsed = Config::parse("neartime.toml", &text, Path::new("/"), &Environment::default());
        parsed.map(drop).map_err(|error| error.to_string())
    };
    parse("s3://raw/features").unwrap();
    assert!(parse("s3://raw/in/features").unwrap_err().contains("move one of them"));
}
