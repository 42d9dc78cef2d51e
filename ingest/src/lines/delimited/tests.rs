//! Delimited lines: quotes, headers, and lines that do not fit them.

use super::*;
use crate::lines::{Line, Lines};
use crate::source::{ColumnKind, Origin};
use crate::testing::Bytes;

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

/// What fuzzing kept begins with two bytes that choose the format and how much is read at a time.
fn kept(data: &[u8]) -> (DelimitedLine, &[u8]) {
    let form = usize::from(data[0]);
    let delimiter = [",", "|", "\t", ";", " ", "\u{1}"][form % 6];
    let (quote, named) = (["\"", "'", ""][form / 6 % 3], form / 18 % 2 == 1);
    let header = if named { Header::Names(["a", "b", "a"].map(str::to_owned).to_vec()) } else { Header::FirstLine };
    (reader(delimiter, quote, header, &["b", "a"]), &data[2..])
}

/// Whether there is a header, and how many rows and bad lines, with `block` bytes read at a time.
fn read(data: &[u8], block: usize) -> (bool, usize, usize) {
    let (mut reader, file) = kept(data);
    let (mut header, mut rows, mut bad) = (false, 0, 0);
    let (mut lines, mut bytes) = (Lines::over(vec![0; block], reader.quoting()), Bytes(file));
    while let Some((_, Line::Whole(line))) = lines.next(&mut bytes).unwrap() {
        let line = reader.trim(line);
        if line.is_empty() {
            continue;
        }
        match reader.take(line) {
            Ok(Taken::Header) => header = true,
            Ok(Taken::Row) => rows += 1,
            Err(Refusal::Line(_)) => bad += 1,
            Err(Refusal::File(_)) => break,
        }
    }
    (header, rows, bad)
}

#[test]
fn what_fuzzing_kept_is_read_as_it_was() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/delimited");
    for (name, header, rows, bad) in [
        ("header_and_rows", true, 3, 0),
        ("header_without_a_column", true, 1, 0),
        ("header_names_nothing", false, 0, 0),
        ("header_of_quotes_that_do_not_close", false, 0, 0),
        ("header_with_a_repeated_name", true, 1, 0),
        ("quoted", false, 2, 0),
        ("quoted_newlines", false, 3, 0),
        ("quotes_that_do_not_close", false, 2, 2),
        ("quotes_that_break", false, 1, 2),
        ("quotes_that_break_on_every_line", false, 1, 20),
        ("quotes_that_never_close", false, 0, 40),
        ("spaces_behind_a_closing_quote", false, 3, 0),
        ("tabs_delimit", true, 4, 0),
        ("spaces_delimit", false, 3, 0),
        ("no_quotes", false, 2, 0),
        ("single_quotes", false, 1, 0),
        ("control_character_delimits", false, 1, 0),
        ("byte_order_mark", true, 1, 0),
        ("byte_order_mark_alone", false, 0, 0),
        ("blank_lines", true, 2, 0),
        ("invalid_utf8", false, 1, 0),
        ("wrong_field_count", false, 1, 3),
    ] {
        let data = std::fs::read(format!("{folder}/{name}")).unwrap();
        assert_eq!(read(&data, 10), (header, rows, bad), "{name}");
    }
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let whole = read(&data, 1 << 16);
        for block in [3, 10, 50] {
            assert_eq!(read(&data, block), whole, "{} in {block}", path.display());
        }
    }
}
