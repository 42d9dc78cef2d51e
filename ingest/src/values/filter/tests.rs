//! What is understood of conditions, and that nothing else drops a row.

use std::sync::Arc;

use datafusion::prelude::{col, lit};

use super::*;
use crate::source::{Column, Format, SourceSpec};

fn source() -> Source {
    let location = crate::testing::memory(Arc::new(object_store::memory::InMemory::new()));
    let layout = crate::Layout::parse("%Y/%m/%d/%H%M.gz").unwrap();
    let column = |(name, kind): (&str, &str)| Column::new(name, kind.parse().unwrap());
    let columns = [("event", "string"), ("Brand", "string"), ("n", "int")].map(column).to_vec();
    Source::new(SourceSpec::new("s".parse().unwrap(), location, layout, Format::Json, columns)).unwrap()
}

/// Whether a feature with these conditions may want the line.
fn wants(conditions: Vec<Expr>, line: &str) -> bool {
    let source = source();
    let Some(filter) = RowFilter::new(&source, &[conditions]) else { return true };
    let mut fields = Fields::new(&source);
    fields.take(line.as_bytes()).unwrap();
    filter.wants(&fields, line.as_bytes(), &mut Vec::new())
}

const A: &str = r#"{"event":"a","Brand":"\u0062","n":1}"#;

#[test]
fn comparisons_of_text_are_understood() {
    assert!(wants(vec![col("event").eq(lit("a"))], A));
    assert!(!wants(vec![col("event").eq(lit("b"))], A));
    assert!(!wants(vec![lit("b").eq(col("event"))], A));
    assert!(wants(vec![col("event").in_list(vec![lit("x"), lit("a")], false)], A));
    assert!(!wants(vec![col("event").in_list(vec![lit("x"), lit("a")], true)], A));
    assert!(!wants(vec![col("event").not_eq(lit("a"))], A));
    assert!(!wants(vec![col("event").eq(lit("x")).or(col("event").eq(lit("y")))], A));
    assert!(wants(vec![col("event").eq(lit("x")).or(col("\"Brand\"").eq(lit("b")))], A));
    assert!(!wants(vec![col("event").eq(lit("a")), col("\"Brand\"").eq(lit("c"))], A));
    assert!(!wants(vec![col("event").eq(lit("a")).and(col("\"Brand\"").eq(lit("c")))], A));
}

#[test]
fn nulls_fulfil_no_comparison() {
    for line in ["{}", r#"{"event":null}"#, r#"{"event":"\ud800"}"#] {
        assert!(!wants(vec![col("event").eq(lit("a"))], line), "{line}");
        assert!(!wants(vec![col("event").not_eq(lit("a"))], line), "{line}");
    }
    assert!(wants(vec![col("event").not_eq(lit("a"))], r#"{"event":""}"#));
    assert!(wants(vec![col("event").eq(lit("5"))], r#"{"event":5}"#));
}

#[test]
fn whatever_is_not_understood_counts_as_true() {
    let odd = [
        col("n").eq(lit(2)),
        col("event").like(lit("x%")),
        col("event").gt(lit("x")),
        col("event").eq(col("\"Brand\"")),
        col("elsewhere").eq(lit("x")),
        col("event").eq(lit("x")).or(col("n").eq(lit(1))),
        Expr::Not(Box::new(col("event").eq(lit("a")))),
        col("event").in_list(vec![lit("x"), lit(ScalarValue::Utf8(None))], true),
    ];
    for condition in odd {
        assert!(wants(vec![condition.clone()], A), "{condition}");
    }
    // Beside one that is understood it does not hide that one.
    assert!(!wants(vec![col("event").like(lit("x%")), col("event").eq(lit("b"))], A));
}

#[test]
fn one_feature_that_wants_everything_keeps_everything() {
    let source = source();
    let some = vec![col("event").eq(lit("a"))];
    assert!(RowFilter::new(&source, &[some.clone(), Vec::new()]).is_none());
    assert!(RowFilter::new(&source, &[some.clone(), vec![col("n").eq(lit(1))]]).is_none());
    assert!(RowFilter::new(&source, &[some.clone(), some]).is_some());
}

#[test]
fn features_that_want_texts_of_one_column_want_any_of_them() {
    let source = source();
    let features = [
        vec![col("event").eq(lit("a"))],
        vec![col("\"Brand\"").eq(lit("b"))],
        vec![col("event").in_list(vec![lit("c"), lit("d")], false)],
        vec![col("event").eq(lit("e")), col("\"Brand\"").eq(lit("f"))],
    ];
    let filter = RowFilter::new(&source, &features).unwrap();
    assert_eq!(filter.0.len(), 3);
    let wants = |event: &str, brand: &str| {
        let line = format!(r#"{{"event":"{event}","Brand":"{brand}"}}"#);
        let mut fields = Fields::new(&source);
        fields.take(line.as_bytes()).unwrap();
        filter.wants(&fields, line.as_bytes(), &mut Vec::new())
    };
    for (event, brand, wanted) in [
        ("a", "", true),
        ("c", "", true),
        ("d", "", true),
        ("e", "", false),
        ("e", "f", true),
        ("x", "b", true),
        ("x", "f", false),
    ] {
        assert_eq!(wants(event, brand), wanted, "{event} {brand}");
    }
}
