//! Lists of texts, from JSON arrays, from single values, and from the elements that a path leads to.

use datafusion::arrow::array::{ListBuilder, StringViewBuilder};

use super::{Misfit, text};
use crate::lines::scan::{self, Breach};
use crate::lines::{Raw, Step};

type Texts = ListBuilder<StringViewBuilder>;

/// Appends a list: of an array its elements, of anything else a list of one. Null, and an empty text, is null. An
/// element that is no text spoils the list.
pub(super) fn append(builder: &mut Texts, raw: Raw<'_>, rest: &[Step], scratch: &mut Vec<u8>) -> Result<(), Misfit> {
    if raw.is_missing() {
        builder.append_null();
        return Ok(());
    }
    // A list without a path is one whose elements are meant.
    let rest = if rest.is_empty() { &[Step::Each] } else { rest };
    // What was pushed cannot be taken back, so that a list that may be spoilt is pushed into the air first.
    if may_be_spoilt(raw) {
        let tried = push_items(&mut StringViewBuilder::new(), raw, rest, scratch);
        if tried.is_err() {
            builder.append_null();
            return tried;
        }
    }
    push_items(builder.values(), raw, rest, scratch)?;
    builder.append(true);
    Ok(())
}

/// Whether some part of the value may be no text: only escapes and bytes that are no UTF-8 can make it so.
fn may_be_spoilt(raw: Raw<'_>) -> bool {
    match raw {
        Raw::Text(bytes) | Raw::Container(bytes) => {
            memchr::memchr(b'\\', bytes).is_some() || std::str::from_utf8(bytes).is_err()
        }
        _ => true,
    }
}

/// Pushes the texts that `steps` lead to from `raw`; a member that is not there is a null item.
fn push_items(
    items: &mut StringViewBuilder,
    raw: Raw<'_>,
    steps: &[Step],
    scratch: &mut Vec<u8>,
) -> Result<(), Misfit> {
    match (steps, raw) {
        ([], raw) => {
            items.append_option(text(raw, scratch)?);
            Ok(())
        }
        ([Step::Each, rest @ ..], Raw::Container(json)) if json.starts_with(b"[") => {
            each(json, |element| push_items(items, element, rest, scratch))
        }
        ([Step::Each, rest @ ..], single) => push_items(items, single, rest, scratch),
        ([Step::Key(name), rest @ ..], Raw::Container(json)) if json.starts_with(b"{") => {
            push_items(items, member(json, name), rest, scratch)
        }
        ([Step::Key(_), ..], _) => {
            items.append_null();
            Ok(())
        }
    }
}

/// Shows the elements of an array whose grammar has been checked.
fn each(json: &[u8], mut show: impl FnMut(Raw<'_>) -> Result<(), Misfit>) -> Result<(), Misfit> {
    let mut stack = Vec::new();
    let mut pos = scan::skip_space(json, 1);
    while json[pos] != b']' {
        let (element, end) = value(json, pos, &mut stack).expect(CHECKED);
        show(element)?;
        pos = scan::skip_space(json, end);
        if json[pos] == b',' {
            pos = scan::skip_space(json, pos + 1);
        }
    }
    Ok(())
}

/// The first member called `name` of an object whose grammar has been checked.
fn member<'a>(json: &'a [u8], name: &[u8]) -> Raw<'a> {
    let (mut stack, mut key) = (Vec::new(), Vec::new());
    let mut pos = scan::skip_space(json, 1);
    while json[pos] != b'}' {
        let string = scan::string(json, pos).expect(CHECKED);
        key.clear();
        let readable = scan::unescape(&json[pos + 1..string.end - 1], &mut key).is_ok();
        pos = scan::expect(json, scan::skip_space(json, string.end), b':').expect(CHECKED);
        let (member, end) = value(json, scan::skip_space(json, pos), &mut stack).expect(CHECKED);
        if readable && key == name {
            return member;
        }
        pos = scan::skip_space(json, end);
        if json[pos] == b',' {
            pos = scan::skip_space(json, pos + 1);
        }
    }
    Raw::Absent
}

const CHECKED: &str = "the grammar was checked when the line was walked over";

/// The value at `pos`, and the position behind it.
fn value<'a>(json: &'a [u8], pos: usize, stack: &mut Vec<bool>) -> Result<(Raw<'a>, usize), Breach> {
    let first = scan::byte(json, pos);
    if first == b'"' {
        let string = scan::string(json, pos)?;
        let inside = &json[pos + 1..string.end - 1];
        return Ok((if string.escaped { Raw::Escaped(inside) } else { Raw::Text(inside) }, string.end));
    }
    let end = scan::skip_value(json, pos, stack)?;
    let text = &json[pos..end];
    let raw = match first {
        b'n' => Raw::Null,
        b't' | b'f' => Raw::Bool(text),
        b'{' | b'[' => Raw::Container(text),
        _ => Raw::Number(text),
    };
    Ok((raw, end))
}
