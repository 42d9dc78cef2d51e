//! Delimited lines: quotes, headers, and lines that do not fit them.

use super::*;
use crate::source::{ColumnKind, Origin};

fn reader(delimiter: &str, quote: &str, header: Header, columns: &[&str]) -> DelimitedLine {
    let columns: Vec<_> = columns.iter().map(|name| Column::new(*name, ColumnKind::String)).collect();
    let mut reader = DelimitedLine::new(&Delimited::new(delimiter, quote, header).unwrap(), &columns);
    reader.begin_file();
    reader
}

fn row(reader: &mut DelimitedLine, line: &str) -> Result<Vec<Option<String>>, Refusal> {
    reader.take(line.as_bytes())?;
    let value = |at| {
        let mut scratch = Vec::new();
        crate::values::text(reader.raw(line.as_bytes(), at), &mut scratch).unwrap().map(str::to_owned)
    };
    Ok((0..reader.fields.len()).map(value).collect())
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn fields_are_found_by_the_names_of_the_header() {
    let mut reader = reader("|", "\"", Header::FirstLine, &["b", "a", "gone"]);
    assert_eq!(reader.take(b"a|\"b\"|c"), Ok(Taken::Header));
    assert_eq!(row(&mut reader, "1||3").unwrap(), [Some(String::new()), Some("1".to_owned()), None]);
    // Every file has its own header.
    reader.begin_file();
    assert_eq!(reader.take(b"gone | a"), Ok(Taken::Header));
    assert_eq!(row(&mut reader, "x|y").unwrap(), [None, Some("y".to_owned()), Some("x".to_owned())]);
}

#[test]
fn a_header_that_names_no_column_fails_the_file() {
    let mut reader = reader("|", "\"", Header::FirstLine, &["b"]);
    assert!(matches!(reader.take(b"2018|5"), Err(Refusal::File(_))));
}

#[test]
fn names_from_the_configuration_need_no_header() {
    let names = Header::Names(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]);
    let mut reader = reader(",", "\"", names, &["a", "b"]);
    assert_eq!(row(&mut reader, "1,2,3").unwrap(), some(&["1", "2"]));
    reader.begin_file();
    assert_eq!(row(&mut reader, "4,5,6").unwrap(), some(&["4", "5"]));
}

#[test]
fn quotes_are_those_of_rfc_4180() {
    let mut reader = reader(",", "\"", Header::Names(vec!["a".into(), "b".into()]), &["a", "b"]);
    assert_eq!(row(&mut reader, "\"x,y\",\"say \"\"hi\"\"\"").unwrap(), some(&["x,y", "say \"hi\""]));
    assert_eq!(row(&mut reader, "\"two\nlines\",5\" disk").unwrap(), some(&["two\nlines", "5\" disk"]));
    assert_eq!(row(&mut reader, "\"\",\"\"\"\"").unwrap(), some(&["", "\""]));
    for bad in ["\"a,b", "\"a\"b,c", "a,\"b"] {
        assert_eq!(row(&mut reader, bad), Err(Reason::BadQuotes.into()), "{bad}");
    }
}

#[test]
fn quoting_can_be_switched_off() {
    let mut reader = reader(",", "", Header::Names(vec!["a".into(), "b".into()]), &["a", "b"]);
    assert_eq!(reader.quoting(), None);
    assert_eq!(row(&mut reader, "\"x,y\"").unwrap(), some(&["\"x", "y\""]));
}

#[test]
fn another_number_of_fields_is_a_bad_line() {
    let mut reader = reader(",", "\"", Header::Names(vec!["a".into(), "b".into()]), &["a", "b"]);
    for bad in ["1", "1,2,3", "1,2,"] {
        assert_eq!(row(&mut reader, bad), Err(Reason::WrongFieldCount.into()), "{bad}");
    }
}

#[test]
fn white_space_round_a_line_goes_unless_it_delimits() {
    let tabs = reader("\t", "\"", Header::FirstLine, &["a"]);
    assert_eq!(tabs.trim(b"  \ta\t \r"), b"\ta\t");
    assert_eq!(tabs.trim(b" \r"), b"");
    let commas = reader(",", "\"", Header::FirstLine, &["a"]);
    assert_eq!(commas.trim(b"\t a,b \r"), b"a,b");
}

#[test]
fn a_column_takes_the_field_that_its_origin_names() {
    let column = Column::new("a", ColumnKind::String).from(Origin::Path("x.y".to_owned()));
    let mut reader = DelimitedLine::new(&Delimited::new(",", "\"", Header::FirstLine).unwrap(), &[column]);
    reader.begin_file();
    assert_eq!(reader.take(b"a,x.y"), Ok(Taken::Header));
    assert_eq!(row(&mut reader, "1,2").unwrap(), some(&["2"]));
}
