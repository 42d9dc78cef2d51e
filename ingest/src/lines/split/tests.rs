//! Splitting, wherever blocks end, against a reading byte by byte.

use proptest::prelude::*;

use super::*;
use crate::testing::Bytes;

/// A line of `byte`s that never needs to be in memory.
struct Repeated {
    byte: u8,
    left: usize,
    then: &'static [u8],
}

impl ReadBytes for Repeated {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let now = self.left.min(out.len());
        out[..now].fill(self.byte);
        self.left -= now;
        let rest = Bytes(self.then).read(&mut out[now..])?;
        self.then = &self.then[rest..];
        Ok(now + rest)
    }
}

const CSV: Quoting = Quoting { delimiter: b',', quote: b'"' };

fn split(text: &[u8], quoting: Option<Quoting>) -> Vec<(u64, String)> {
    split_in_blocks(text, quoting, BLOCK_BYTES)
}

fn split_in_blocks(text: &[u8], quoting: Option<Quoting>, block: usize) -> Vec<(u64, String)> {
    let mut lines = Lines::over(vec![0; block], quoting);
    let (mut bytes, mut found) = (Bytes(text), Vec::new());
    while let Some((number, line)) = lines.next(&mut bytes).unwrap() {
        match line {
            Line::Whole(line) => found.push((number, String::from_utf8_lossy(line).into_owned())),
            Line::TooLong(head) => found.push((number, format!("too long: {}", head.len()))),
        }
    }
    found
}

fn texts(text: &[u8], quoting: Option<Quoting>) -> Vec<String> {
    split(text, quoting).into_iter().map(|(_, line)| line).collect()
}

#[test]
fn lines_are_numbered_from_one_and_the_last_needs_no_newline() {
    let expected = [(1, "a".to_owned()), (2, String::new()), (3, "b\r".to_owned()), (4, "c".to_owned())];
    assert_eq!(split(b"a\n\nb\r\nc", None), expected);
    assert_eq!(split(b"a\n\nb\r\nc\n", None), expected);
    assert_eq!(split(b"", None), []);
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_alone() {
    assert_eq!(texts(b"\xef\xbb\xbfa\nb", None), ["a", "b"]);
    assert_eq!(texts(b"a\n\xef\xbb\xbfb", None), ["a", "\u{feff}b"]);
    assert_eq!(texts(b"\xef\xbb\xbf", None), [""; 0]);
}

#[test]
fn lines_longer_than_a_block_are_whole() {
    let long = "x".repeat(3 * BLOCK_BYTES + 17);
    let text = format!("a\n{long}\nb\n{long}");
    assert_eq!(texts(text.as_bytes(), None), ["a", &long, "b", &long]);
}

#[test]
fn a_line_over_the_limit_is_skipped_without_being_held() {
    let mut lines = Lines::new();
    lines.begin_file(None);
    let mut bytes = Repeated { byte: b'x', left: 100_000_000, then: b"\nafter\n" };
    assert_eq!(lines.next(&mut bytes).unwrap(), Some((1, Line::TooLong(&[b'x'; HEAD_BYTES]))));
    assert_eq!(lines.next(&mut bytes).unwrap(), Some((2, Line::Whole(b"after"))));
    assert_eq!(lines.next(&mut bytes).unwrap(), None);
    assert!(lines.buffer.len() <= 2 * MAX_LINE_BYTES);
}

#[test]
fn the_limit_is_ten_million_bytes() {
    for (length, too_long) in [(MAX_LINE_BYTES, false), (MAX_LINE_BYTES + 1, true)] {
        for then in [&b"\nafter"[..], b""] {
            let mut lines = Lines::new();
            lines.begin_file(None);
            let mut bytes = Repeated { byte: b'x', left: length, then };
            let (number, line) = lines.next(&mut bytes).unwrap().unwrap();
            assert_eq!((number, matches!(line, Line::TooLong(_))), (1, too_long), "{length}");
            let after = lines.next(&mut bytes).unwrap().map(|(number, _)| number);
            assert_eq!(after, (!then.is_empty()).then_some(2));
        }
    }
}

#[test]
fn quoted_newlines_are_part_of_the_record() {
    let text = b"a,\"x\ny\"\nb,\"\"\"\n\"\nc,d\n\"q\",\"r\ns\"";
    let expected = [(1, "a,\"x\ny\""), (3, "b,\"\"\"\n\""), (5, "c,d"), (6, "\"q\",\"r\ns\"")];
    assert_eq!(split(text, Some(CSV)), expected.map(|(number, line)| (number, line.to_owned())));
}

#[test]
fn a_quote_within_a_field_quotes_nothing() {
    assert_eq!(texts(b"a 5\" disk,b\nc\"\nd", Some(CSV)), ["a 5\" disk,b", "c\"", "d"]);
}

#[test]
fn a_quote_that_never_closes_costs_its_own_line_only() {
    assert_eq!(texts(b"a,\"b\nc,d\ne,f\n", Some(CSV)), ["a,\"b", "c,d", "e,f"]);
    assert_eq!(texts(b"\"a\"b,c\nd,\"e\nf\"\n", Some(CSV)), ["\"a\"b,c", "d,\"e\nf\""]);
    // Lines that open a quote whichever way they are read.
    let text = b"x\",\"\n".repeat(40);
    assert_eq!(texts(&text, Some(CSV)).len(), 40);
}

#[test]
fn records_are_the_same_wherever_blocks_end() {
    let record = format!("\"{}\n{}\",b\n", "x".repeat(70_000), "y".repeat(90_000));
    let text = format!("{}{}", record.repeat(5), "plain,line\n".repeat(3));
    let found = texts(text.as_bytes(), Some(CSV));
    assert_eq!(found.len(), 8);
    assert!(found[..5].iter().all(|line| format!("{line}\n") == record));
}

/// Where the record at the start of `text` ends, byte by byte; `None` if its quotes are broken or never close.
fn naive_end(text: &[u8]) -> Option<usize> {
    #[derive(PartialEq)]
    enum State {
        Start,
        Field,
        Quoted,
        Closed,
        Spaces,
    }
    let lead = text.iter().take_while(|byte| b" \r\t".contains(byte)).count();
    let mut state = State::Start;
    for (at, byte) in text.iter().enumerate().skip(lead) {
        state = match (state, byte) {
            (State::Quoted, b'"') => State::Closed,
            (State::Quoted, _) => State::Quoted,
            (State::Closed, b'"') => State::Quoted,
            (_, b'\n') => return Some(at),
            (State::Start, b'"') => State::Quoted,
            (State::Start | State::Field, b',') => State::Start,
            (State::Start | State::Field, _) => State::Field,
            (State::Closed, b',') => State::Start,
            (State::Closed | State::Spaces, b' ' | b'\r') => State::Spaces,
            (State::Closed | State::Spaces, _) => return None,
        };
    }
    (state != State::Quoted).then_some(text.len())
}

fn naive_split(text: &[u8]) -> Vec<(u64, String)> {
    let (mut rest, mut number, mut lines) = (text, 1, Vec::new());
    while !rest.is_empty() {
        let newline = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let quoted = rest[..newline].contains(&b'"') && newline < rest.len();
        let end = if quoted { naive_end(rest) } else { Some(newline) };
        let end = end.unwrap_or(newline);
        lines.push((number, String::from_utf8_lossy(&rest[..end]).into_owned()));
        number += 1 + rest[..end].iter().filter(|byte| **byte == b'\n').count() as u64;
        rest = &rest[rest.len().min(end + 1)..];
    }
    lines
}

proptest! {
    #[test]
    fn blocks_of_any_size_give_the_same_records(text in "[a\", \r\n]{0,30}", block in 16_usize..80) {
        let whole = split(text.as_bytes(), Some(CSV));
        prop_assert_eq!(&split_in_blocks(text.as_bytes(), Some(CSV), block), &whole);
        prop_assert_eq!(whole, naive_split(text.as_bytes()));
        let plain: Vec<_> = text.strip_suffix('\n').unwrap_or(&text).split('\n').map(str::to_owned).collect();
        let found: Vec<_> = split_in_blocks(text.as_bytes(), None, block).into_iter().map(|(_, line)| line).collect();
        prop_assert_eq!(found, if text.is_empty() { Vec::new() } else { plain });
    }
}
