//! Files of JSON lines to typed values, against serde_json: what each column holds of each line that serde_json accepts.

#![no_main]

use std::cell::RefCell;
use std::fmt;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use neartime_fuzz::mutate::json_lines;
use neartime_fuzz::rows::{Reader, Row, Value};
use neartime_fuzz::source::{Column, ColumnKind, Format, Origin, Source, TimeUnit};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

fn columns() -> Vec<Column> {
    let path = |path: &str| Origin::Path(path.to_owned());
    vec![
        Column::new("s", ColumnKind::String),
        Column::new("i", ColumnKind::Int),
        Column::new("f", ColumnKind::Float),
        Column::new("b", ColumnKind::Bool),
        Column::new("t", ColumnKind::timestamp(TimeUnit::Millis)),
        Column::new("l", ColumnKind::ListString),
        Column::new("o.s", ColumnKind::String).from(path("o.s")),
        Column::new("each", ColumnKind::ListString).from(path("l[].s")),
        Column::new("deep", ColumnKind::ListString).from(path("o.l[].s[].i")),
        Column::new("never", ColumnKind::String),
    ]
}

/// The first member of an object that is called `name`, as it is written.
fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    members(object)?.into_iter().find(|(key, _)| key.0 == name).map(|(_, value)| value)
}

/// A key; empty if it is no text, which serde_json gives as bytes alone.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Key, E> {
                Ok(Key(String::from_utf8(bytes.to_vec()).unwrap_or_default()))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

/// The members of an object in their order; `None` of anything else.
fn members(object: &RawValue) -> Option<Vec<(Key, &RawValue)>> {
    struct Collect;
    impl<'de> Visitor<'de> for Collect {
        type Value = Vec<(Key, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(object.get()).deserialize_map(Collect).ok()
}

/// The value as text: strings by what they stand for, everything else as written; `None` is null.
fn text(value: &RawValue) -> Result<Option<String>, ()> {
    match value.get() {
        "null" => Ok(None),
        json if json.starts_with('"') => serde_json::from_str(json).map(Some).map_err(drop),
        json => Ok(Some(json.to_owned())),
    }
}

/// The texts that a path leads to: into the elements of lists, and to the members of objects that are called so.
fn items(value: Option<&RawValue>, steps: &[&str], items_found: &mut Vec<Option<String>>) -> Result<(), ()> {
    let Some((step, rest)) = steps.split_first() else {
        items_found.push(value.map_or(Ok(None), text)?);
        return Ok(());
    };
    match (*step, value) {
        ("[]", Some(value)) if value.get().starts_with('[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get()).expect("a list");
            elements.into_iter().try_for_each(|element| items(Some(element), rest, items_found))
        }
        ("[]", single) => items(single, rest, items_found),
        (name, Some(value)) if value.get().starts_with('{') => items(member(value, name), rest, items_found),
        _ => {
            items_found.push(None);
            Ok(())
        }
    }
}

fn list(value: Option<&RawValue>, steps: &[&str]) -> Value {
    if value.is_none_or(|value| matches!(value.get(), "null" | "\"\"")) {
        return Value::Null;
    }
    let mut found = Vec::new();
    items(value, steps, &mut found).map_or(Value::Misfit, |()| Value::List(found))
}

/// A value that is one number, boolean or instant, or text that holds exactly one.
fn scalar(value: Option<&RawValue>, read: impl Fn(&str) -> Option<Value>, plain: &str) -> Value {
    let Some(value) = value else { return Value::Null };
    let json = value.get();
    let text = match json.as_bytes()[0] {
        b'"' => match serde_json::from_str::<String>(json) {
            Ok(text) if text.is_empty() => return Value::Null,
            Ok(text) => text.trim_ascii().to_owned(),
            Err(_) => return Value::Misfit,
        },
        b'n' => return Value::Null,
        first if plain.as_bytes().contains(&first) => json.to_owned(),
        _ => return Value::Misfit,
    };
    read(&text).unwrap_or(Value::Misfit)
}

const NUMBER: &str = "-0123456789";

/// Numbers as plain as most are; the others are the work of another target.
fn is_plain(line: &str) -> bool {
    !line.contains(['e', 'E', '.', '+'])
        && !line.bytes().collect::<Vec<_>>().windows(19).any(|w| w.iter().all(u8::is_ascii_digit))
}

fn expected(line: &str) -> Option<Vec<Value>> {
    let root: &RawValue = serde_json::from_str(line).ok()?;
    let members = members(root)?;
    let value = |name: &str| members.iter().find(|(key, _)| key.0 == name).map(|(_, value)| *value);
    let int = |text: &str| text.parse().ok();
    let string = |value: Option<&RawValue>| match value.map_or(Ok(None), text) {
        Ok(text) => text.map_or(Value::Null, Value::Text),
        Err(()) => Value::Misfit,
    };
    let bool = |text: &str| text.to_ascii_lowercase().parse().ok().map(Value::Bool);
    let inside = |name| value("o").filter(|o| o.get().starts_with('{')).and_then(|o| member(o, name));
    let range = -62_135_596_800_000..=253_402_300_799_999;
    Some(vec![
        string(value("s")),
        scalar(value("i"), |text| int(text).map(Value::Int), NUMBER),
        scalar(value("f"), |text| int(text).map(|number: i64| Value::Float(number as f64)), NUMBER),
        scalar(value("b"), bool, "tf"),
        scalar(value("t"), |text| int(text).filter(|at| range.contains(at)).map(Value::Millis), NUMBER),
        list(value("l"), &["[]"]),
        string(inside("s")),
        list(value("l"), &["[]", "s"]),
        list(inside("l"), &["[]", "s", "[]", "i"]),
        string(value("never")),
    ])
}

thread_local! {
    static READER: RefCell<Reader> = RefCell::new(Reader::new(&Source { format: Format::Json, columns: columns() }));
}

fuzz_target!(|data: &[u8]| {
    let Some((block, file)) = data.split_first() else { return };
    let rows = READER.with_borrow_mut(|reader| reader.rows(file, usize::from(*block) + 3));
    let mut rows = rows.into_iter();
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    for (line, number) in file.split(|byte| *byte == b'\n').zip(1..) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (found_number, row) = rows.next().expect("each line that is not blank is told of");
        assert_eq!(found_number, number);
        let Some(expected) = str::from_utf8(line).ok().filter(|line| is_plain(line)).and_then(expected) else {
            continue;
        };
        assert_eq!(row, Row::Values(expected), "{:?}", String::from_utf8_lossy(line));
    }
    assert!(rows.next().is_none());
});

// Half of the mutations are the fuzzer's own; the first byte stays.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) || size == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let changed = json_lines(&data[1..size], seed);
    let len = changed.len().min(max_size - 1);
    data[1..=len].copy_from_slice(&changed[..len]);
    len + 1
});
