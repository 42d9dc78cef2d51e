use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;

use super::*;
use neartime_model::chain;

use crate::trial::{events, floats, ints, lists, run, table_of, text, times};
use crate::{CompiledFeature, Refused, compile};

fn spec(engine: &str, keys: &[&str], select: &[(&str, &str)]) -> SqlFeatureSpec {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    SqlFeatureSpec {
        name: "tried".to_owned(),
        source: "rows".to_owned(),
        engine: engine.to_owned(),
        keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
        select: pairs(select),
        ..SqlFeatureSpec::default()
    }
}

fn compiled(spec: SqlFeatureSpec, events: &RecordBatch) -> Result<CompiledFeature, Refused> {
    let feature = SqlFeature::new(spec).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let table = table_of(&feature, events, "timestamp");
    compile(Arc::new(feature), &table)
}

async fn rows(spec: SqlFeatureSpec, events: RecordBatch) -> Vec<String> {
    let feature = compiled(spec, &events).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let table = pretty_format_batches(&[run(&feature, vec![events]).await.0]).unwrap().to_string();
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ");
    table.lines().filter(|line| line.starts_with('|')).map(cells).collect()
}

fn posts() -> RecordBatch {
    events([
        ("event_name", text(["post_success", "post_success", "app_open", "post_success"])),
        ("user_id", text([" 8fe540bb38", "8fe540bb38", "8fe540bb38", "c360f89568"])),
        ("country", text(["za", "za", "za", "gh"])),
        ("brand", text(["olx"; 4])),
        ("order", ints([1, 2, 3, 4])),
        ("timestamp", times(["2018-08-01T09:31:00Z"; 4])),
        ("data_chunk", times(["2018-08-01T09:30:00Z"; 4])),
    ])
}

#[tokio::test]
async fn a_count_by_all_that_is_selected() {
    let select = [("id", "clean_str(user_id)"), ("country", "clean_str(country)"), ("brand", "clean_str(brand)")];
    let mut posted = spec("count", &[], &select);
    posted.keys = None;
    posted.filter = Some("event_name = 'post_success'".to_owned());
    let expected = ["id country brand actions_count", "8fe540bb38 za olx 2", "c360f89568 gh olx 1"];
    assert_eq!(rows(posted, posts()).await, expected);
}

#[tokio::test]
async fn a_weight_is_summed_and_columns_may_be_keywords() {
    let select = [("id", "clean_str(user_id)"), ("weight", "order")];
    let expected = ["id actions_count", "8fe540bb38 6", "c360f89568 4"];
    assert_eq!(rows(spec("count", &["id"], &select), posts()).await, expected);
    let select = [("id", "clean_str(user_id)"), ("weight", "order * 0.5")];
    let expected = ["id actions_count", "8fe540bb38 3.0", "c360f89568 2.0"];
    assert_eq!(rows(spec("count", &["id"], &select), posts()).await, expected);
}

#[tokio::test]
async fn data_chunk_and_a_time_of_its_own_may_be_used() {
    let select = [("id", "brand"), ("timestamp", "data_chunk + interval '1 second'")];
    let expected = ["id last_action_timestamp", "olx 1533115801"];
    assert_eq!(rows(spec("last_action_time", &["id"], &select), posts()).await, expected);
}

#[tokio::test]
async fn keys_may_be_constants_and_nothing_read() {
    let total = spec("rollup", &["id"], &[("id", "'all'")]);
    let wanted = compiled(total.clone(), &posts()).unwrap().wanted().clone();
    assert_eq!((wanted.columns.len(), wanted.rows), (0, None));
    assert_eq!(rows(total, posts()).await, ["id row_count", "all 4"]);
    let nothing = spec("rollup", &["id", "brand"], &[("id", "null"), ("brand", "brand")]);
    assert_eq!(rows(nothing, posts()).await, ["id brand row_count", " olx 4"]);
}

#[tokio::test]
async fn items_may_be_lists() {
    let events = events([
        ("user", text(["u", "u"])),
        ("segments", lists([vec!["11", "101", "11"], vec!["11", ""]].map(Some))),
        ("timestamp", times(["2017-02-09T16:36:49Z", "2017-03-03T00:01:33Z"])),
    ]);
    let select = [("id", "clean_str(user)"), ("item", "segments")];
    let expected = [
        "id item min_ts max_ts",
        "u 101 2017-02-09T16:36:49Z 2017-02-09T16:36:49Z",
        "u 11 2017-02-09T16:36:49Z 2017-03-03T00:01:33Z",
    ];
    assert_eq!(rows(spec("segment_membership", &["id"], &select), events).await, expected);
}

#[tokio::test]
async fn measures_have_aggregates_of_their_own() {
    let events = events([
        ("network", ints([10, 10, 7])),
        ("spend", floats([1.5, 2.0, 1.0])),
        ("at", ints([5, 3, 1])),
        ("timestamp", times(["2021-12-20"; 3])),
    ]);
    let select = [("network", "network"), ("spend", "spend"), ("low", "at"), ("high", "at")];
    let mut rolled = spec("rollup", &["network"], &select);
    rolled.aggregate = vec![("low".to_owned(), "min".to_owned()), ("high".to_owned(), "max".to_owned())];
    rolled.ratios = vec![("cost".to_owned(), "spend / row_count".to_owned())];
    let expected = ["network spend low high row_count", "10 3.5 3 5 2", "7 1.0 1 1 1"];
    assert_eq!(rows(rolled, events).await, expected);
}

#[test]
fn errors_name_the_feature_and_the_key() {
    let refused = |spec: SqlFeatureSpec| chain(&SqlFeature::new(spec).unwrap_err());
    let id = [("id", "user_id")];
    let cases = [
        (refused(spec("counts", &["id"], &id)), "feature `tried`: `engine`: there is no engine `counts`"),
        (refused(spec("count", &["id", "country"], &id)), "`select`: the key `country` is not selected"),
        (refused(SqlFeatureSpec { keys: None, ..spec("count", &[], &id) }), "a key by default"),
        (refused(spec("count", &[], &id)), "`keys`: a feature has at least one key"),
        (refused(spec("count", &["id"], &[("id", "a"), ("x", "b")])), "`select.x`: neither a key nor the engine's own"),
        (refused(spec("count", &["id"], &[("id", "a"), ("id", "b")])), "`select.id`: it is selected twice"),
        (refused(spec("segment_membership", &["id"], &id)), "`item` is not selected"),
        (
            refused(SqlFeatureSpec {
                aggregate: vec![("a".to_owned(), "min".to_owned())],
                ..spec("count", &["id"], &id)
            }),
            "`aggregate`: only a rollup has one",
        ),
        (
            refused(SqlFeatureSpec {
                aggregate: vec![("a".to_owned(), "avg".to_owned())],
                ..spec("rollup", &["id"], &[("id", "b"), ("a", "b")])
            }),
            "`aggregate.a`: there is no aggregate `avg`",
        ),
        (
            refused(SqlFeatureSpec {
                aggregate: vec![("z".to_owned(), "min".to_owned())],
                ..spec("rollup", &["id"], &id)
            }),
            "`aggregate.z`: no measure of that name",
        ),
        (
            refused(SqlFeatureSpec {
                ratios: vec![("R".to_owned(), "a / b".to_owned())],
                ..spec("rollup", &["id"], &id)
            }),
            "`ratios.R`: output column `R` cannot be used",
        ),
    ];
    for (text, expected) in cases {
        assert!(text.contains(expected), "{text}\nlacks\n{expected}");
    }
}

#[test]
fn errors_of_expressions_name_the_key_too() {
    let refused = |spec: SqlFeatureSpec| chain(&compiled(spec, &posts()).unwrap_err());
    let with_filter =
        |filter: &str| SqlFeatureSpec { filter: Some(filter.to_owned()), ..spec("count", &["id"], &[("id", "brand")]) };
    let cases = [
        (
            refused(spec("count", &["id"], &[("id", "usr_id")])),
            "`select.id`: the expression cannot be used: in `usr_id` there is `usr_id`, which is no column; the columns are `event_name`, `user_id`",
        ),
        (
            refused(spec("count", &["id"], &[("id", "max(brand)")])),
            "`select.id`: the expression cannot be used: `max(brand)` uses an aggregate",
        ),
        (refused(with_filter("brand == ")), "`where`: the expression cannot be used: `brand == ` cannot be read: "),
        (refused(with_filter("brand")), "`where`: `brand` is Utf8View, and a condition is true or false"),
        (refused(with_filter("row_number() over () = 1")), "uses a window function"),
        (refused(with_filter("timestamp < now()")), "`now` gives other values each time"),
        (refused(spec("count", &["id"], &[("id", "timestamp")])), "the engine `count` asks for"),
        (
            refused(spec("count", &["hour"], &[("hour", "brand")])),
            "the features store has a column of that name already",
        ),
        (
            refused(spec("rollup", &["id"], &[("id", "brand"), ("row_count", "order")])),
            "two columns are named `row_count`",
        ),
        (refused(spec("rollup", &["id"], &[("id", "brand"), ("b", "country")])), "`b` is Utf8View, not int or float"),
    ];
    for (text, expected) in cases {
        assert!(text.contains(expected), "{text}\nlacks\n{expected}");
    }
}

#[test]
fn the_definition_tells_what_stored_rows_depend_on() {
    let base = spec("rollup", &["id"], &[("id", "brand"), ("n", "order")]);
    let definition = |spec: &SqlFeatureSpec| SqlFeature::new(spec.clone()).unwrap().definition();
    let same = [
        SqlFeatureSpec { retention: Some(Span::from_days(90)), ..base.clone() },
        SqlFeatureSpec { ratios: vec![("r".to_owned(), "n / row_count".to_owned())], ..base.clone() },
    ];
    let other = [
        SqlFeatureSpec { filter: Some("brand = 'olx'".to_owned()), ..base.clone() },
        SqlFeatureSpec { aggregate: vec![("n".to_owned(), "max".to_owned())], ..base.clone() },
        spec("rollup", &["id"], &[("id", "brand"), ("n", "order + 1")]),
        spec("rollup", &["id", "n"], &[("id", "brand"), ("n", "order")]),
    ];
    assert!(same.iter().all(|spec| definition(spec) == definition(&base)));
    assert!(other.iter().all(|spec| definition(spec) != definition(&base)));
}

#[test]
fn simple_conditions_are_pushed_down_to_the_reader_and_others_are_not() {
    let wanted = |filter: &str| {
        let filter = Some(filter.to_owned());
        let feature =
            compiled(SqlFeatureSpec { filter, ..spec("count", &["id"], &[("id", "brand")]) }, &posts()).unwrap();
        let rows = feature.wanted().rows.clone().unwrap_or_default();
        (feature.wanted().columns.join(" "), rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "))
    };
    let columns = "event_name brand timestamp".to_owned();
    let one = wanted("event_name = 'post_success'");
    assert_eq!(one, (columns.clone(), "event_name = Utf8View(\"post_success\")".to_owned()));
    let cases = [
        // Compared as nanoseconds, which not every instant fits.
        ("timestamp >= '2018-08-01'", ""),
        ("event_name in ('a', 'b', 'c', 'd')", "event_name IN ([Utf8View(\"a\"), "),
        // DataFusion puts the cheaper condition first.
        ("brand like 'o%' and order > 1", "order > Int64(1) and brand LIKE Utf8View(\"o%\")"),
        ("order > 1.5", "CAST(order AS Float64) > Float64(1.5)"),
        ("brand = 'olx' and 10 / order = 1", "brand = Utf8View(\"olx\")"),
        ("clean_str(brand) = 'olx'", ""),
    ];
    for (filter, expected) in cases {
        let (_, rows) = wanted(filter);
        assert!(rows.starts_with(expected) && rows.is_empty() == expected.is_empty(), "{filter}: {rows}");
    }
}
