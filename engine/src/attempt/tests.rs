use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{Volatility, create_udf};
use datafusion::prelude::{DataFrame, col};

use neartime_model::chain;

use crate::trial::{events, floats, ints, run, table_of, text, times};
use crate::{CompiledFeature, Count, Engine, Feature, SqlFeature, SqlFeatureSpec, compile};

fn compiled(expression: &str, filter: Option<&str>, columns: &[(&'static str, ArrayRef)]) -> (CompiledFeature, Events) {
    let spec = SqlFeatureSpec {
        name: "tried".to_owned(),
        source: "rows".to_owned(),
        engine: "rollup".to_owned(),
        keys: Some(vec!["row".to_owned()]),
        filter: filter.map(ToOwned::to_owned),
        select: vec![("row".to_owned(), "row".to_owned()), ("value".to_owned(), expression.to_owned())],
        ..SqlFeatureSpec::default()
    };
    let rows = columns[0].1.len();
    let numbers: Vec<String> = (0..rows).map(|row| format!("{row:03}")).collect();
    let row = ("row", text(numbers.iter().map(String::as_str)));
    let events = events([row].into_iter().chain(columns.iter().cloned()));
    let feature: Arc<dyn Feature> = Arc::new(SqlFeature::new(spec).unwrap());
    let table = table_of(feature.as_ref(), &events, "row");
    (compile(feature, &table).unwrap_or_else(|error| panic!("{}", chain(&error))), events)
}

type Events = datafusion::arrow::array::RecordBatch;

/// The expression's value for each row, and what was counted.
async fn ints_of(expression: &str, columns: &[(&'static str, ArrayRef)]) -> (Vec<Option<i64>>, Nulls) {
    let (feature, events) = compiled(expression, None, columns);
    let (rows, counts) = run(&feature, vec![events]).await;
    (rows.column_by_name("value").unwrap().as_primitive::<Int64Type>().iter().collect(), counts.nulls())
}

async fn floats_of(expression: &str, columns: &[(&'static str, ArrayRef)]) -> (Vec<Option<f64>>, Nulls) {
    let (feature, events) = compiled(expression, None, columns);
    let (rows, counts) = run(&feature, vec![events]).await;
    (rows.column_by_name("value").unwrap().as_primitive::<Float64Type>().iter().collect(), counts.nulls())
}

type Nulls = BTreeMap<&'static str, u64>;

fn nulls<const N: usize>(counts: [(&'static str, u64); N]) -> Nulls {
    counts.into()
}

#[tokio::test]
async fn a_conversion_that_fails_is_null_and_counted() {
    let t = [("t", text(["1", "abc", "3"].map(Some).into_iter().chain([None])))];
    let expected = (vec![Some(1), None, Some(3), None], nulls([("failed_conversion", 1)]));
    assert_eq!(ints_of("cast(t as int)", &t).await, expected);
    assert_eq!(ints_of("try_cast(t as bigint)", &t).await, expected);
    assert_eq!(ints_of("arrow_cast(t, 'Int64')", &t).await, expected);
    // An implicit one.
    let implicit = ints_of("case when t > 2 then 1 else 0 end", &t).await;
    assert_eq!(implicit, (vec![Some(0), Some(0), Some(1), Some(0)], nulls([("failed_conversion", 1)])));
    assert_eq!(ints_of("cast('abc' as int)", &t).await.0, [None; 4]);
}

#[tokio::test]
async fn a_division_by_zero_is_null_and_counted() {
    let n = [("n", ints([Some(2), Some(0), None])), ("z", ints([Some(0), Some(0), Some(0)]))];
    let zeros = |count| nulls([("division_by_zero", count)]);
    assert_eq!(ints_of("10 / n", &n).await, (vec![Some(5), None, None], zeros(1)));
    assert_eq!(ints_of("10 % n", &n).await, (vec![Some(0), None, None], zeros(1)));
    assert_eq!(ints_of("n / z", &n).await, (vec![None, None, None], zeros(2)));
    assert_eq!(ints_of("n / 0", &n).await.0, [None; 3]);
    assert_eq!(ints_of("1 / 0", &n).await.0, [None; 3]);
    let f = [("f", floats([Some(2.0), Some(0.0), Some(-0.0), None]))];
    assert_eq!(floats_of("1 / f", &f).await, (vec![Some(0.5), None, None, None], zeros(2)));
    assert_eq!(floats_of("f % 0.0", &f).await.0, [None; 4]);
    assert_eq!(floats_of("1.0 / 0", &f).await.0, [None; 4]);
}

#[tokio::test]
async fn an_overflow_is_null_and_counted() {
    let n = [("n", ints([1, i64::MAX, i64::MIN]))];
    let overflows = |count| nulls([("overflow", count)]);
    assert_eq!(ints_of("n + 1", &n).await, (vec![Some(2), None, Some(i64::MIN + 1)], overflows(1)));
    assert_eq!(ints_of("n - 1", &n).await, (vec![Some(0), Some(i64::MAX - 1), None], overflows(1)));
    assert_eq!(ints_of("n * 2", &n).await, (vec![Some(2), None, None], overflows(2)));
    assert_eq!(ints_of("-n", &n).await, (vec![Some(-1), Some(-i64::MAX), None], overflows(1)));
    assert_eq!(ints_of("n / -1", &n).await, (vec![Some(-1), Some(-i64::MAX), None], overflows(1)));
    assert_eq!(ints_of("9223372036854775807 + 1", &n).await.0, [None; 3]);
}

#[tokio::test]
async fn a_function_that_fails_is_null_for_the_rows_to_blame() {
    let failed = |count| nulls([("failed_function", count)]);
    let n = [("n", ints([3, 25, -1, 5]))];
    let (values, counted) = ints_of("factorial(n)", &n).await;
    assert_eq!((values[0], values[1], values[3]), (Some(6), None, Some(120)));
    assert!(counted["failed_function"] >= 1, "{counted:?}");
    let t = [("t", text(["2018-08-01T10:42:34Z", "yesterday", "1970-01-01T00:00:01Z"]))];
    let seconds = ints_of("epoch_seconds(to_timestamp(t))", &t).await;
    assert_eq!(seconds, (vec![Some(1_533_120_154), None, Some(1)], failed(1)));
    let units = [("unit", text(["hour", "day"])), ("at", times(["2018-08-01T10:42:34Z", "2018-08-01T10:42:34Z"]))];
    let (feature, events) = compiled("epoch_seconds(date_trunc('fortnight', at))", None, &units);
    assert_eq!(run(&feature, vec![events]).await.1.nulls(), failed(2));
}

#[tokio::test]
async fn a_pattern_from_a_column_may_be_bad() {
    let t = [("t", text(["aa", "aa", "b"])), ("p", text(["a+", "(", "c"]))];
    for expression in ["case when t ~ p then 1 when t !~ p then 0 end", "cast(regexp_like(t, p) as int)"] {
        let (values, counted) = ints_of(expression, &t).await;
        assert_eq!(values, [Some(1), None, Some(0)], "{expression}");
        assert!(counted["failed_function"] >= 1);
    }
    assert_eq!(ints_of("case when t ~ '(' then 1 else 0 end", &t).await.0, [Some(0); 3]);
}

#[tokio::test]
async fn case_and_coalesce_stay_lazy() {
    let t = [("t", text(["1", "x"])), ("n", ints([0, 2]))];
    assert_eq!(
        ints_of("coalesce(cast(t as int), 7)", &t).await,
        (vec![Some(1), Some(7)], nulls([("failed_conversion", 1)]))
    );
    assert_eq!(ints_of("coalesce(n, 1 / n)", &t).await, (vec![Some(0), Some(2)], nulls([])));
    assert_eq!(ints_of("case when n = 0 then 0 else 10 / n end", &t).await, (vec![Some(0), Some(5)], nulls([])));
}

#[tokio::test]
async fn one_odd_value_selects_nothing_and_spoils_nothing() {
    let status = [("status", text([Some("200"), Some("odd"), Some("404"), None, Some("200")]))];
    let selected = async |filter: &str| {
        let (feature, events) = compiled("1", Some(filter), &status);
        let (rows, counts) = run(&feature, vec![events]).await;
        let ids: Vec<String> = rows.column(0).as_string::<i32>().iter().flatten().map(ToOwned::to_owned).collect();
        (ids.join(" "), counts.nulls())
    };
    assert_eq!(selected("status = 200").await, ("000 004".to_owned(), nulls([("failed_conversion", 1)])));
    assert_eq!(selected("cast(status as int) <> 200").await.0, "002");
    assert_eq!(selected("cast(status as int) in (200, 404)").await.0, "000 002 004");
    assert_eq!(selected("1 / (cast(status as int) - 200) = 0").await.0, "002");
    assert_eq!(selected("status = '200'").await, ("000 004".to_owned(), nulls([])));
}

#[tokio::test]
async fn counts_do_not_depend_on_batches_nor_on_rows_that_a_reader_dropped() {
    let name: Vec<&str> = (0..100).map(|row| if row % 10 == 0 { "wanted" } else { "other" }).collect();
    let a: Vec<&str> = (0..100).map(|row| if row % 20 == 0 { "1" } else { "odd" }).collect();
    let columns = [("name", text(name.clone())), ("a", text(a)), ("b", text(vec!["odd"; 100]))];
    let filter = "cast(a as int) = 1 and name = 'wanted' and cast(b as int) is null";
    let (feature, events) = compiled("1", Some(filter), &columns);
    let whole = run(&feature, vec![events.clone()]).await.1.nulls();
    // Of ten wanted rows five fail on `a`, and the other five go on to fail on `b`.
    assert_eq!(whole, nulls([("failed_conversion", 10)]));
    let parts = (0..100).step_by(7).map(|start| events.slice(start, 7.min(100 - start))).collect();
    assert_eq!(run(&feature, parts).await.1.nulls(), whole);
    let kept = (0..100).step_by(10).map(|row| events.slice(row, 1)).collect();
    assert_eq!(run(&feature, kept).await.1.nulls(), whole);
}

#[tokio::test]
async fn every_row_to_blame_is_found_and_no_other() {
    for odd in [1, 2, 3, 17, 100] {
        let t: Vec<String> = (0..100)
            .map(|row| if row % odd == 0 { "junk".to_owned() } else { format!("197{}-01-01", row % 10) })
            .collect();
        let (values, counted) =
            ints_of("date_part('year', to_timestamp(t))", &[("t", text(t.iter().map(String::as_str)))]).await;
        let expected: Vec<_> = (0..100).map(|row| (row % odd != 0).then_some(1970 + row % 10)).collect();
        assert_eq!((values, counted["failed_function"]), (expected, 100_u64.div_ceil(odd as u64)), "{odd}");
    }
}

#[tokio::test]
async fn functions_answer_as_ever() {
    let columns = [
        ("t", text(["b-12", "c-7"])),
        ("n", ints([1, -5])),
        ("at", times(["2018-08-01T10:42:34Z", "1969-12-31T23:59:59Z"])),
        ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
    ];
    let cases = [
        ("cast(pi() as int)", [3, 3]),
        ("length(t) + strpos(t, '-')", [6, 5]),
        ("cast(split_part(t, '-', 2) as bigint)", [12, 7]),
        ("cast(regexp_replace(t, '[^0-9]', '', 'g') as int)", [12, 7]),
        ("array_length(string_to_array(t, '-'))", [2, 2]),
        ("coalesce(nullif(n, 1), 9)", [9, -5]),
        ("greatest(abs(n), 2)", [2, 5]),
        ("date_part('hour', at)", [10, 23]),
        ("cast(extract(hour from at) as int)", [10, 23]),
        ("epoch_seconds(date_trunc('minute', at))", [1_533_120_120, -60]),
        ("cast(flag as int)", [1, 0]),
        ("case when t like 'b%' and n between 0 and 2 then 1 else 0 end", [1, 0]),
        ("case when t similar to '(b|d)-[0-9]+' then 1 else 0 end", [1, 0]),
        ("n * 2 - 1", [1, -11]),
        ("n % 2", [1, -1]),
        ("nvl(n, 0)", [1, -5]),
        ("arrow_cast(n, 'Int32')", [1, -5]),
        ("cast(round(n / 2.0) as int)", [1, -3]),
        ("cast(n as string)::int", [1, -5]),
    ];
    for (expression, expected) in cases {
        assert_eq!(ints_of(expression, &columns).await, (expected.map(Some).to_vec(), nulls([])), "{expression}");
    }
}

/// A feature whose own function panics on the word `boom`.
#[derive(Debug)]
struct Panicky;

impl Feature for Panicky {
    fn name(&self) -> &str {
        "panicky"
    }
    fn source(&self) -> &str {
        "rows"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Count::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        let own = create_udf(
            "own",
            vec![DataType::Utf8View],
            DataType::Utf8View,
            Volatility::Volatile,
            Arc::new(|args| {
                assert!(!format!("{args:?}").contains("boom"), "boom");
                Ok(args[0].clone())
            }),
        );
        events.select([own.call(vec![col("id")]).alias("id"), col("timestamp")])
    }
}

#[tokio::test]
async fn a_fault_in_an_authors_own_function_fails_the_run() {
    let rows = |id: &'static str| events([("id", text([id])), ("timestamp", times(["2018-08-01"]))]);
    let feature = compile(Arc::new(Panicky), &table_of(&Panicky, &rows("a"), "timestamp")).unwrap();
    assert_eq!(run(&feature, vec![rows("a")]).await.0.num_rows(), 1);
    let failed = tokio::spawn(async move { run(&feature, vec![rows("boom")]).await });
    assert!(failed.await.unwrap_err().is_panic());
}
