use datafusion::arrow::array::{BooleanArray, Int64Array};

use super::*;
use crate::trial::{events, floats, ints, lists, text, times};
use crate::{Count, Rollup, SegmentMembership};

fn guarded(engine: &dyn Engine, rows: &RecordBatch) -> (Vec<Vec<String>>, Counts) {
    let guard = Guard::new(engine, &rows.schema()).unwrap();
    let counts = Counts::default();
    let batch = guard.batch(rows, &counts).unwrap();
    let show = |row: usize| {
        let value = |column: &ArrayRef| datafusion::arrow::util::display::array_value_to_string(column, row).unwrap();
        batch.columns().iter().map(value).collect()
    };
    ((0..batch.num_rows()).map(show).collect(), counts)
}

#[test]
fn keys_become_text_and_empty_ones_null() {
    let rows = events([
        ("id", ints([Some(10), None, Some(-3)])),
        ("flag", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("brand", text(["olx", "", "olx"])),
        ("timestamp", times(["2018-08-01", "2018-08-01", "2018-08-01"])),
    ]);
    let (rows, counts) = guarded(&Count::by(["id", "flag", "brand"]), &rows);
    let time = "2018-08-01T00:00:00Z";
    assert_eq!(rows, [["10", "true", "olx", time], ["-3", "true", "olx", time]]);
    assert_eq!((counts.rows_after_preprocess(), counts.dropped()), (3, [("null_entity", 1)].into()));
}

#[test]
fn rows_that_no_engine_may_see_are_dropped_and_counted_once() {
    let (long, fits) = ("x".repeat(1025), "x".repeat(1024));
    let rows = events([
        ("id", text([Some(""), None, Some("a"), Some(&*long), Some(&*fits), Some("b")])),
        ("country", text([None, Some(&*long), Some(&*long), None, None, None])),
        ("timestamp", times([Some("2018-08-01"), None, None, None, Some("2018-08-01"), None])),
    ]);
    let (rows, counts) = guarded(&Count::by(["id", "country"]), &rows);
    assert_eq!(rows, [[fits.as_str(), "", "2018-08-01T00:00:00Z"]]);
    let expected = [("key_too_long", 2), ("null_entity", 2), ("null_timestamp", 1)].into();
    assert_eq!(counts.dropped(), expected);
}

#[test]
fn a_rollup_keeps_rows_without_an_entity() {
    let rows = events([("id", text([Some(""), None])), ("spend", floats([Some(1.5), Some(f64::NAN)]))]);
    let (rows, counts) = guarded(&Rollup::by(["id"]), &rows);
    assert_eq!(rows, [["", "1.5"], ["", ""]]);
    assert_eq!((counts.dropped(), counts.nulls()), ([].into(), [("not_a_number", 1)].into()));
}

#[test]
fn each_item_has_a_row_and_empty_ones_none() {
    let long = "x".repeat(1025);
    let items =
        lists([Some(vec![Some("11"), Some(""), None, Some("101")]), Some(vec![]), None, Some(vec![Some(&*long)])]);
    let time = "2018-08-01T00:00:00Z";
    let rows = events([("id", text(["a", "b", "c", "d"])), ("item", items), ("timestamp", times([time; 4]))]);
    let (rows, counts) = guarded(&SegmentMembership::by(["id"]), &rows.slice(0, 4));
    assert_eq!(rows, [["a", "11", time], ["a", "101", time]]);
    assert_eq!(counts.dropped(), [("null_item", 4), ("item_too_long", 1)].into());
}

#[test]
fn slices_of_lists_are_understood() {
    let items = lists([vec!["a"], vec!["b", "c"], vec!["d"]].map(Some));
    let time = "2018-08-01T00:00:00Z";
    let rows = events([("id", text(["1", "2", "3"])), ("item", items), ("timestamp", times([time; 3]))]);
    let (rows, _) = guarded(&SegmentMembership::by(["id"]), &rows.slice(1, 1));
    assert_eq!(rows, [["2", "b", time], ["2", "c", time]]);
}

#[tokio::test]
async fn long_lists_are_cut_into_batches() {
    let item: Vec<String> = (0..1_000).map(|item| item.to_string()).collect();
    let list = || Some(item.iter().map(|item| Some(item.as_str())));
    let ids: Vec<String> = (0..100).map(|id| id.to_string()).collect();
    let rows = events([
        ("id", text(ids.iter().map(|id| Some(id.as_str())))),
        ("item", lists((0..100).map(|_| list()))),
        ("timestamp", times(["2018-08-01"; 100])),
    ]);
    let guard = Guard::new(&SegmentMembership::by(["id"]), &rows.schema()).unwrap();
    let input = stream::iter([Ok(rows.clone()), Ok(rows.slice(0, 0))]);
    let input = Box::pin(RecordBatchStreamAdapter::new(rows.schema(), input));
    let counts = Arc::new(Counts::default());
    let batches: Vec<RecordBatch> = guard.stream(input, &counts).try_collect().await.unwrap();
    let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!((sizes, counts.rows_after_preprocess()), (vec![25_000; 4], 100));
}

#[test]
fn times_of_any_unit_are_floored_to_milliseconds() {
    use datafusion::arrow::array::{Date32Array, TimestampNanosecondArray, TimestampSecondArray};
    let id = || text(["a"]);
    let cases: [(ArrayRef, &str); 3] = [
        (Arc::new(TimestampNanosecondArray::from(vec![-1])), "1969-12-31T23:59:59.999Z"),
        (Arc::new(TimestampSecondArray::from(vec![-1]).with_timezone("+02:00")), "1969-12-31T23:59:59Z"),
        (Arc::new(Date32Array::from(vec![1])), "1970-01-02T00:00:00Z"),
    ];
    for (time, expected) in cases {
        let rows = events([("id", id()), ("timestamp", time)]);
        assert_eq!(guarded(&Count::by(["id"]), &rows).0, [["a", expected]]);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_both_schemas() {
    let refused = |engine: &dyn Engine, rows: &RecordBatch| Guard::new(engine, &rows.schema()).unwrap_err().to_string();
    let rows = events([("id", floats([1.0])), ("timestamp", times(["2018-08-01"]))]);
    let text_of = refused(&Count::by(["id"]), &rows);
    assert!(text_of.contains("`id` is Float64, not text, int or bool"), "{text_of}");
    assert!(text_of.contains("asks for (id text, int or bool, timestamp timestamp, weight int or float, optional)"));
    assert!(text_of.contains("yields (id Float64, timestamp Timestamp("), "{text_of}");
    assert!(refused(&Count::default(), &events([("id", text(["a"]))])).contains("`country` is missing"));
    let extra = events([("id", text(["a"])), ("timestamp", times(["2018-08-01"])), ("x", ints([1]))]);
    assert!(refused(&Count::by(["id"]), &extra).contains("`x` is neither a key nor the engine's own"));
    assert!(refused(&Count::by(Vec::<String>::new()), &extra).contains("at least one key"));
    assert!(refused(&Count::by(["timestamp"]), &extra).contains("`timestamp` cannot be a key twice"));
}

#[test]
fn integers_stay_integers() {
    let small: ArrayRef = Arc::new(datafusion::arrow::array::Int16Array::from(vec![7]));
    let rows = events([("id", text(["a"])), ("n", small)]);
    let guard = Guard::new(&Rollup::by(["id"]), &rows.schema()).unwrap();
    let batch = guard.batch(&rows, &Counts::default()).unwrap();
    assert_eq!(batch.column(1).as_primitive(), &Int64Array::from(vec![7]));
}
