use std::error::Error;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::*;

fn schema() -> DFSchema {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let text = ["user", "order", "userId", "id.orig_h", "Some Name", "end", "c'est", "date"];
    let mut fields: Vec<Field> = text.iter().map(|name| Field::new(*name, DataType::Utf8View, true)).collect();
    fields.push(Field::new("timestamp", time, true));
    fields.push(Field::new("day", DataType::Int64, true));
    DFSchema::try_from(Schema::new(fields)).unwrap()
}

fn columns_of(text: &str) -> Vec<String> {
    let expr = parse(text, &schema()).unwrap_or_else(|error| panic!("{error}: {:?}", error.source()));
    let mut columns: Vec<String> = expr.column_refs().iter().map(|column| column.name.clone()).collect();
    columns.sort();
    columns
}

#[test]
fn an_expression_that_is_a_columns_name_is_that_column() {
    for name in ["user", "order", "userId", "id.orig_h", "Some Name", "end", "c'est", "timestamp"] {
        assert_eq!(columns_of(name), [name]);
    }
}

#[test]
fn names_are_never_folded_and_keywords_need_no_quotes() {
    assert_eq!(columns_of("clean_str(userId)"), ["userId"]);
    assert_eq!(columns_of("CLEAN_STR( user )"), ["user"]);
    assert_eq!(columns_of("clean_str(user) || order"), ["order", "user"]);
    assert_eq!(columns_of("order = 'x' and user is not null"), ["order", "user"]);
    assert_eq!(columns_of("lower(id.orig_h)"), ["id.orig_h"]);
    assert_eq!(columns_of("\"Some Name\" || \"end\""), ["Some Name", "end"]);
    assert_eq!(columns_of("user like 'it''s %'"), ["user"]);
    assert!(
        matches!(parse("clean_str(userid)", &schema()), Err(BadExpression::NoColumn { column, .. }) if column == "userid")
    );
    assert!(
        matches!(parse("lower(id.resp_h)", &schema()), Err(BadExpression::NoColumn { column, .. }) if column == "id.resp_h")
    );
}

#[test]
fn words_of_sql_keep_their_place() {
    assert_eq!(columns_of("cast(user as timestamp) > timestamp"), ["timestamp", "user"]);
    assert_eq!(columns_of("user::date > date '2018-08-01'"), ["user"]);
    assert_eq!(columns_of("extract(day from timestamp) = day"), ["day", "timestamp"]);
    assert_eq!(columns_of("timestamp + interval '1' day > timestamp"), ["timestamp"]);
    assert_eq!(columns_of("case when user = 'a' then 1 else day end"), ["day", "user"]);
}

#[test]
fn what_needs_more_than_one_event_is_refused() {
    let cases = ["count(user)", "sum(day) over ()", "(select 1)", "user in (select 'a')", "exists (select 1)"];
    for text in cases {
        assert!(matches!(parse(text, &schema()), Err(BadExpression::NotOfARow { .. })), "{text}");
    }
}

#[test]
fn nonsense_is_refused() {
    for text in ["", "user user", "user,", "clean_str(", "nofunction(user)", "user as x", "user; drop"] {
        assert!(parse(text, &schema()).is_err(), "{text}");
    }
}
