//! Which sources are refused, and what the others offer to features.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;

use super::*;

fn spec(format: Format, columns: Vec<Column>) -> SourceSpec {
    let location = crate::testing::memory(Arc::new(object_store::memory::InMemory::new()));
    let layout = Layout::parse("{brand}/%Y/%m/%d/%H%M-{host}.gz").unwrap();
    SourceSpec::new("s".parse().unwrap(), location, layout, format, columns)
}

fn json(columns: &[(&str, &str)]) -> SourceSpec {
    spec(Format::Json, columns.iter().map(|(name, kind)| Column::new(*name, kind.parse().unwrap())).collect())
}

fn refusal(spec: SourceSpec) -> String {
    Source::new(spec).unwrap_err().to_string()
}

#[test]
fn features_see_columns_then_captures_then_the_chunk() {
    let source = Source::new(json(&[("user", "string"), ("n", "int"), ("ts", "timestamp")])).unwrap();
    let schema = source.events_schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["user", "n", "ts", "brand", "host", "data_chunk"]);
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8View);
    assert!(!schema.field(5).is_nullable());
    assert_eq!(source.event_time(), "ts");
}

#[test]
fn the_event_time_is_the_only_timestamp_or_the_one_that_is_named() {
    assert_eq!(Source::new(json(&[("a", "string")])).unwrap().event_time(), DATA_CHUNK);
    let two = json(&[("a", "timestamp"), ("b", "timestamp")]);
    assert!(refusal(two.clone()).contains("`a` and `b` are both timestamps"));
    let named = Source::new(SourceSpec { event_time: Some("b".to_owned()), ..two.clone() }).unwrap();
    assert_eq!(named.event_time(), "b");
    let none = Source::new(SourceSpec { event_time: Some(DATA_CHUNK.to_owned()), ..two }).unwrap();
    assert_eq!((none.event_time(), none.event_time_column()), (DATA_CHUNK, None));
    let text = SourceSpec { event_time: Some("a".to_owned()), ..json(&[("a", "string")]) };
    assert!(refusal(text).contains("is no timestamp"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert!(refusal(json(&[])).contains("no columns"));
    assert!(refusal(json(&[("a", "int"), ("a", "string")])).contains("`a` is there already"));
    assert!(refusal(json(&[("brand", "string")])).contains("`brand` is there already"));
    assert!(refusal(json(&[("host", "string")])).contains("`host` is there already"));
    assert!(refusal(json(&[("data_chunk", "string")])).contains("`data_chunk` is there already"));
    assert!(refusal(json(&[("", "string")])).contains("no name"));
    let unknown = |spec: SourceSpec| refusal(spec).contains("not among its columns");
    assert!(unknown(SourceSpec { required: vec!["b".to_owned()], ..json(&[("a", "int")]) }));
    assert!(unknown(SourceSpec { unique: Some("b".to_owned()), ..json(&[("a", "int")]) }));
    assert!(unknown(SourceSpec { event_time: Some("b".to_owned()), ..json(&[("a", "int")]) }));
    let list = SourceSpec { unique: Some("a".to_owned()), ..json(&[("a", "list<string>")]) };
    assert!(refusal(list).contains("is a list"));
    let minutes = SourceSpec { width: ChunkWidth::TEN_MINUTES, ..json(&[("a", "int")]) };
    let hourly = SourceSpec { layout: Layout::parse("%Y/%m/%d/%H.gz").unwrap(), ..minutes };
    assert!(refusal(hourly.clone()).contains("coarser"));
    assert!(Source::new(SourceSpec { width: ChunkWidth::HOUR, ..hourly }).is_ok());
}

#[test]
fn odd_names_are_names() {
    let names = ["user", "order", "Upper Case", "dots.in.it", "naïve", "select", "\"quoted\""];
    let spec = json(&names.map(|name| (name, "string")));
    assert!(Source::new(spec).is_ok());
}

#[test]
fn origins_and_units_must_mean_something() {
    let column = |kind: ColumnKind, origin| spec(Format::Json, vec![Column::new("a", kind).from(origin)]);
    let path = |path: &str| Origin::Path(path.to_owned());
    assert!(refusal(column(ColumnKind::String, path("a..b"))).contains("empty step"));
    assert!(refusal(column(ColumnKind::String, Origin::Steps(Vec::new()))).contains("empty step"));
    assert!(refusal(column(ColumnKind::String, path("items[].sku"))).contains("must be list<string>"));
    assert!(Source::new(column(ColumnKind::ListString, path("items[].sku"))).is_ok());
    let odd = ColumnKind::timestamp(TimeUnit::Strftime("%Q!".to_owned()));
    assert!(refusal(column(odd, Origin::Name)).contains("strftime"));
    for (pattern, advice) in
        [("%F %T %Z", "`zone`"), ("%F %T,%f", "%3f"), ("%s%f", "%.f"), ("%H:%M:%S", "date"), ("%F %I:%M", "%p")]
    {
        let unit = ColumnKind::timestamp(TimeUnit::Strftime(pattern.to_owned()));
        assert!(refusal(column(unit, Origin::Name)).contains(advice), "{pattern}");
    }
    for pattern in [
        "%s",
        "%Y%m%d",
        "%Y-%j",
        "%G-W%V-%u",
        "%d/%b/%Y:%H:%M:%S %z",
        "%a %e %b %Y %l:%M %p",
        "%c",
        "%+",
        "%D",
        "%F %T%#z",
    ] {
        let unit = ColumnKind::timestamp(TimeUnit::Strftime(pattern.to_owned()));
        assert!(Source::new(column(unit, Origin::Name)).is_ok(), "{pattern}");
    }
    assert!("minutes".parse::<TimeUnit>().is_err());
    assert!("Middle/Earth".parse::<Zone>().is_err());
    assert!("text".parse::<ColumnKind>().is_err());
}

#[test]
fn flat_formats_have_no_objects_and_must_have_the_field() {
    let steps = Origin::Steps(vec!["a".to_owned(), "b".to_owned()]);
    let names = Header::Names(vec!["a".to_owned()]);
    let delimited = || Format::Delimited(Delimited::new(",", "\"", names.clone()).unwrap());
    let walks = spec(delimited(), vec![Column::new("x", ColumnKind::String).from(steps)]);
    assert!(refusal(walks).contains("walks objects"));
    let gone = spec(delimited(), vec![Column::new("x", ColumnKind::String)]);
    assert!(refusal(gone).contains("no name of the header"));
    let pattern = Format::Pattern(Pattern::new("^(?<a>.*)$").unwrap());
    assert!(refusal(spec(pattern, vec![Column::new("b", ColumnKind::String)])).contains("no named group"));
}

#[test]
fn delimiters_and_patterns_must_be_usable() {
    for (delimiter, quote) in [("", "\""), (",,", "\""), ("é", "\""), (",", ","), ("\n", "\""), (",", "ab")] {
        assert!(Delimited::new(delimiter, quote, Header::FirstLine).is_err(), "{delimiter:?} {quote:?}");
    }
    assert!(Delimited::new(",", "", Header::Names(Vec::new())).is_err());
    assert!(Pattern::new("(").is_err());
    assert!(Pattern::new("no groups").is_err());
}

#[test]
fn an_apache_time_needs_no_unit() {
    let format = Format::Pattern(Pattern::new("apache_common").unwrap());
    let source = Source::new(spec(format, vec![Column::new("time", ColumnKind::iso())])).unwrap();
    let pattern = "%d/%b/%Y:%H:%M:%S %z".to_owned();
    assert_eq!(source.columns[0].kind, ColumnKind::timestamp(TimeUnit::Strftime(pattern)));
}
