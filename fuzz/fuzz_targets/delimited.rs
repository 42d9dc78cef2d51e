//! Files of delimited lines, against a reading byte by byte, and against the `csv` crate where it follows the same rule.
//!
//! The first two bytes of the input choose the format and how much is read at a time, the rest is the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neartime_fuzz::rows::{Reader, Row, Value};
use neartime_fuzz::source::{Column, ColumnKind, Delimited, Format, Header, Source};

const DELIMITERS: [&str; 6] = [",", "|", "\t", ";", " ", "\u{1}"];
const QUOTES: [&str; 3] = ["\"", "'", ""];
const NAMES: [&str; 3] = ["a", "b", "a"];
const WANTED: [&str; 3] = ["b", "a", "c d"];

struct Rule {
    delimiter: u8,
    quote: Option<u8>,
}

impl Rule {
    fn is_space(&self, byte: u8) -> bool {
        byte.is_ascii_whitespace() && byte != self.delimiter
    }

    fn trim<'a>(&self, mut line: &'a [u8]) -> &'a [u8] {
        while let [first, rest @ ..] = line
            && self.is_space(*first)
        {
            line = rest;
        }
        while let [rest @ .., last] = line
            && self.is_space(*last)
        {
            line = rest;
        }
        line
    }
}

/// How a record ends, byte by byte.
enum End {
    /// Before this position; a field is still quoted there.
    Open,
    /// Something follows a closing quote that is no delimiter.
    Broken,
    Newline(usize),
    Text,
}

fn end_of_record(text: &[u8], rule: &Rule) -> End {
    #[derive(PartialEq)]
    enum State {
        Start,
        Field,
        Quoted,
        Closed,
        Spaces,
    }
    let lead = text.iter().take_while(|byte| **byte != b'\n' && rule.is_space(**byte)).count();
    let mut state = State::Start;
    for (at, &byte) in text.iter().enumerate().skip(lead) {
        let is_quote = rule.quote == Some(byte);
        state = match state {
            State::Quoted if is_quote => State::Closed,
            State::Quoted => State::Quoted,
            State::Closed if is_quote => State::Quoted,
            _ if byte == b'\n' => return End::Newline(at),
            State::Start if is_quote => State::Quoted,
            State::Start | State::Field | State::Closed if byte == rule.delimiter => State::Start,
            State::Start | State::Field => State::Field,
            State::Closed | State::Spaces if rule.is_space(byte) => State::Spaces,
            State::Closed | State::Spaces => return End::Broken,
        };
    }
    if state == State::Quoted { End::Open } else { End::Text }
}

/// The records of a file and the numbers of their first lines.
fn records<'a>(file: &'a [u8], rule: &Rule) -> Vec<(u64, &'a [u8])> {
    let (mut rest, mut number, mut records, mut open) = (file, 1, Vec::new(), 0);
    rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
    while !rest.is_empty() {
        let newline = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let quotes =
            newline < rest.len() && open < 16 && rule.quote.is_some_and(|quote| rest[..newline].contains(&quote));
        let end = match if quotes { end_of_record(rest, rule) } else { End::Newline(newline) } {
            End::Newline(end) => end,
            End::Text => rest.len(),
            End::Broken => newline,
            End::Open => {
                open += 1;
                newline
            }
        };
        records.push((number, &rest[..end]));
        number += 1 + rest[..end].iter().filter(|byte| **byte == b'\n').count() as u64;
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    records
}

/// The fields of a trimmed record; `None` if its quotes are broken.
fn fields(record: &[u8], rule: &Rule) -> Option<Vec<Vec<u8>>> {
    let (mut fields, mut rest) = (Vec::new(), record);
    loop {
        let mut field = Vec::new();
        match rest {
            [first, inside @ ..] if rule.quote == Some(*first) => {
                rest = inside;
                loop {
                    match rest {
                        [] => return None,
                        [one, two, behind @ ..] if one == first && two == first => {
                            field.push(*first);
                            rest = behind;
                        }
                        [one, behind @ ..] if one == first => {
                            rest = behind;
                            break;
                        }
                        [one, behind @ ..] => {
                            field.push(*one);
                            rest = behind;
                        }
                    }
                }
            }
            _ => {
                let len = rest.iter().take_while(|byte| **byte != rule.delimiter).count();
                field.extend_from_slice(&rest[..len]);
                rest = &rest[len..];
            }
        }
        fields.push(field);
        match rest {
            [] => return Some(fields),
            [next, behind @ ..] if *next == rule.delimiter => rest = behind,
            _ => return None,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Naive {
    Header,
    Values(Vec<Value>),
    Bad,
    FileRefused,
}

fn naive(file: &[u8], rule: &Rule, names: Option<&[&str]>) -> Vec<(u64, Naive)> {
    let mut names: Option<Vec<String>> = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let mut rows = Vec::new();
    for (number, record) in records(file, rule) {
        let record = rule.trim(record);
        if record.is_empty() {
            continue;
        }
        let fields = fields(record, rule);
        let Some(names) = &names else {
            let name = |field: &Vec<u8>| String::from_utf8_lossy(field.trim_ascii()).into_owned();
            let read: Vec<String> = fields.unwrap_or_default().iter().map(name).collect();
            if !WANTED.iter().any(|wanted| read.iter().any(|name| name == wanted)) {
                rows.push((number, Naive::FileRefused));
                break;
            }
            rows.push((number, Naive::Header));
            names = Some(read);
            continue;
        };
        let value = |wanted: &&str, fields: &[Vec<u8>]| match names.iter().position(|name| name == wanted) {
            None => Value::Null,
            Some(at) => String::from_utf8(fields[at].clone()).map_or(Value::Misfit, Value::Text),
        };
        rows.push(match fields.filter(|fields| fields.len() == names.len()) {
            Some(fields) => (number, Naive::Values(WANTED.iter().map(|wanted| value(wanted, &fields)).collect())),
            None => (number, Naive::Bad),
        });
    }
    rows
}

/// Where no white space is to be ignored and all quotes close, the csv crate finds the same records.
fn compare_with_csv(file: &[u8], rule: &Rule) {
    if file.iter().any(|byte| rule.is_space(*byte) && *byte != b'\n') || file.starts_with(b"\xef\xbb\xbf") {
        return;
    }
    let mut ours = Vec::new();
    for (_, record) in records(file, rule).into_iter().filter(|(_, record)| !rule.trim(record).is_empty()) {
        let Some(fields) = fields(record, rule) else { return };
        ours.push(fields);
    }
    let mut builder = csv::ReaderBuilder::new();
    builder.delimiter(rule.delimiter).has_headers(false).flexible(true).terminator(csv::Terminator::Any(b'\n'));
    match rule.quote {
        Some(quote) => builder.quote(quote),
        None => builder.quoting(false),
    };
    let theirs = builder.from_reader(file).into_byte_records();
    let theirs: Vec<Vec<Vec<u8>>> =
        theirs.map(|record| record.expect("memory can be read").iter().map(<[u8]>::to_vec).collect()).collect();
    assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(file));
}

fuzz_target!(|data: &[u8]| {
    let [form, block, file @ ..] = data else { return };
    let (delimiter, form) = (DELIMITERS[usize::from(*form) % DELIMITERS.len()], usize::from(*form) / DELIMITERS.len());
    let (quote, named) = (QUOTES[form % QUOTES.len()], form / QUOTES.len() % 2 == 1);
    let header = if named { Header::Names(NAMES.map(str::to_owned).to_vec()) } else { Header::FirstLine };
    let format = Format::Delimited(Delimited::new(delimiter, quote, header).expect("a format that means something"));
    // A file's own header may name the third column; the other one does not.
    let mut columns: Vec<Column> = WANTED.iter().map(|name| Column::new(*name, ColumnKind::String)).collect();
    if named {
        columns.truncate(2);
    }
    let mut reader = Reader::new(&Source { format, columns });
    let rule = Rule { delimiter: delimiter.as_bytes()[0], quote: quote.bytes().next() };
    let expected = naive(file, &rule, named.then_some(&NAMES));
    // Twice: what one file was like must change nothing about the next.
    for block in [usize::from(*block) + 3, 1 << 16] {
        let found: Vec<(u64, Naive)> = reader
            .rows(file, block)
            .into_iter()
            .map(|(number, row)| match row {
                Row::Header => (number, Naive::Header),
                Row::Values(mut values) => {
                    values.resize(WANTED.len(), Value::Null);
                    (number, Naive::Values(values))
                }
                Row::Refused(_) => (number, Naive::Bad),
                Row::FileRefused => (number, Naive::FileRefused),
            })
            .collect();
        assert_eq!(found, expected, "{delimiter:?} {quote:?} {:?} in {block}", String::from_utf8_lossy(file));
    }
    compare_with_csv(file, &rule);
});
