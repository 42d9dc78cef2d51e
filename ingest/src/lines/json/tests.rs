//! The walker against `serde_json`: the same values on every line that it accepts, never a panic on any other.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::source::{Column, ColumnKind, Origin};

fn walker(columns: &[(&str, Origin)]) -> Walker {
    let columns: Vec<_> =
        columns.iter().map(|(name, origin)| Column::new(*name, ColumnKind::String).from(origin.clone())).collect();
    Walker::new(Paths::new(&columns).0)
}

fn top(names: &[&str]) -> Walker {
    walker(&names.iter().map(|name| (*name, Origin::Name)).collect::<Vec<_>>())
}

fn values<'a>(walker: &mut Walker, line: &'a str) -> Result<Vec<Raw<'a>>, Reason> {
    walker.walk(line.as_bytes())?;
    Ok((0..walker.slots.len()).map(|slot| walker.raw(line.as_bytes(), slot)).collect())
}

#[test]
fn every_kind_of_value_is_found() {
    let mut walker = top(&["s", "e", "n", "t", "z", "o", "a", "x"]);
    let line =
        r#"{ "s" : "text","e":"a\nb", "n":-1.5e3 ,"t":true,"z":null,"o":{"k":[1,{}]},"a":[ ],"other":[[["]"]]]}"#;
    let expected = [
        Raw::Text(b"text"),
        Raw::Escaped(b"a\\nb"),
        Raw::Number(b"-1.5e3"),
        Raw::Bool(b"true"),
        Raw::Null,
        Raw::Container(br#"{"k":[1,{}]}"#),
        Raw::Container(b"[ ]"),
        Raw::Absent,
    ];
    assert_eq!(values(&mut walker, line).unwrap(), expected);
}

#[test]
fn nothing_is_checked_behind_the_last_wanted_value_but_the_closing_brace() {
    let mut walker = top(&["a"]);
    assert_eq!(values(&mut walker, r#"{"a":1,"b":tru, this is no JSON }"#).unwrap(), [Raw::Number(b"1")]);
    assert_eq!(values(&mut walker, r#"{"a":1,"b":2"#), Err(Reason::LineCutOff));
    assert_eq!(values(&mut walker, r#"{"b":tru,"a":1}"#), Err(Reason::BadJson));
    assert_eq!(values(&mut walker, r#"{"b":1}}"#), Err(Reason::BadJson));
    assert_eq!(values(&mut walker, r#"{"b":1} {}"#), Err(Reason::BadJson));
}

#[test]
fn what_is_no_object_is_told_apart() {
    let mut walker = top(&["a"]);
    for line in ["[1]", "1", "\"{}\"", "null", "hello", "}", "a{}"] {
        assert_eq!(values(&mut walker, line), Err(Reason::NotJsonObject), "{line}");
    }
    assert_eq!(values(&mut walker, "{"), Err(Reason::LineCutOff));
    assert_eq!(values(&mut walker, "{}").unwrap(), [Raw::Absent]);
}

#[test]
fn of_a_repeated_key_the_first_counts() {
    let mut walker = walker(&[("a", Origin::Name), ("b", Origin::Path("o.b".to_owned())), ("z", Origin::Name)]);
    let line = r#"{"a":1,"a":2,"o":{"c":0},"o":{"b":3},"z":0}"#;
    assert_eq!(values(&mut walker, line).unwrap(), [Raw::Number(b"1"), Raw::Absent, Raw::Number(b"0")]);
    // What one line had is forgotten on the next.
    let line = r#"{"o":{"b":3,"b":4},"a":2}"#;
    assert_eq!(values(&mut walker, line).unwrap(), [Raw::Number(b"2"), Raw::Number(b"3"), Raw::Absent]);
}

#[test]
fn keys_at_the_places_of_the_line_before_are_not_mixed_up() {
    let mut walker = top(&["a", "ab", "b"]);
    fn found<'a>(line: &'a str, walker: &mut Walker) -> Vec<Raw<'a>> {
        values(walker, line).unwrap()
    }
    let (one, two, three) = (Raw::Number(b"1"), Raw::Number(b"2"), Raw::Number(b"3"));
    let pad = r#""a-key-that-makes-the-line-long-enough":0}"#;
    assert_eq!(found(&format!(r#"{{"a":1,"ab":2,"b":3,{pad}"#), &mut walker), [one, two, three]);
    // The same places with other keys, with keys that only begin alike, with spaces, with a key that comes twice.
    assert_eq!(found(&format!(r#"{{"b":3,"a":1,"ab":2,{pad}"#), &mut walker), [one, two, three]);
    assert_eq!(found(&format!(r#"{{"b":3,"ab":2,"a":1,{pad}"#), &mut walker), [one, two, three]);
    assert_eq!(found(&format!(r#"{{ "b" : 3 , "a" :1, "ab": 2,{pad}"#), &mut walker), [one, two, three]);
    assert_eq!(found(&format!(r#"{{"b":3,"b":1,"ab":2,{pad}"#), &mut walker), [Raw::Absent, two, three]);
    assert_eq!(found(&format!(r#"{{"b":3,"b":1,"ab":2,{pad}"#), &mut walker), [Raw::Absent, two, three]);
    assert_eq!(found(r#"{"b":3}"#, &mut walker), [Raw::Absent, Raw::Absent, three]);
}

#[test]
fn paths_walk_objects_and_keys_may_be_escaped() {
    let mut walker = walker(&[
        ("url", Origin::Path("ctx.page.url".to_owned())),
        ("ctx.page.url", Origin::Name),
        ("id", Origin::Steps(vec!["ctx".to_owned(), "a.b".to_owned()])),
        ("ctx", Origin::Name),
        ("schön", Origin::Name),
    ]);
    let line = r#"{"ctx":{"page":{"url":"u"},"a.b":7},"ctx.page.url":"dots","sch\u00f6n":true}"#;
    let expected = [
        Raw::Text(b"u"),
        Raw::Text(b"dots"),
        Raw::Number(b"7"),
        Raw::Container(br#"{"page":{"url":"u"},"a.b":7}"#),
        Raw::Bool(b"true"),
    ];
    assert_eq!(values(&mut walker, line).unwrap(), expected);
    // Where a path expects an object and finds something else there is nothing.
    let line = r#"{"ctx":"text","schön":1}"#;
    let expected = [Raw::Absent, Raw::Absent, Raw::Absent, Raw::Text(b"text"), Raw::Number(b"1")];
    assert_eq!(values(&mut walker, line).unwrap(), expected);
}

#[test]
fn the_walk_goes_on_behind_an_object_whose_values_were_found() {
    let mut walker = walker(&[("u", Origin::Path("ctx.u".to_owned())), ("z", Origin::Name)]);
    assert_eq!(
        values(&mut walker, r#"{"ctx":{"u":1,"v":[2]},"z":3}"#).unwrap(),
        [Raw::Number(b"1"), Raw::Number(b"3")]
    );
    assert_eq!(values(&mut walker, r#"{"ctx":{"u":1,"v":[2}},"z":3}"#), Err(Reason::BadJson));
    assert_eq!(values(&mut walker, r#"{"z":3,"ctx":{"u":1,"v":[2}},"#), Err(Reason::LineCutOff));
    assert_eq!(
        values(&mut walker, r#"{"z":3,"ctx":{"u":1,"v":[2}}}"#).unwrap(),
        [Raw::Number(b"1"), Raw::Number(b"3")]
    );
}

#[test]
fn no_depth_overflows_the_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        let line = format!("{{\"deep\":{deep},\"x\":1}}");
        assert_eq!(values(&mut top(&["x"]), &line).unwrap(), [Raw::Number(b"1")]);
        assert_eq!(values(&mut top(&["deep"]), &line).unwrap(), [Raw::Container(deep.as_bytes())]);
    }
}

#[test]
fn the_grammar_is_checked_to_the_letter() {
    let bad = [
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "True",
        "nul",
        "'a'",
        "\"a",
        "\"\u{1}\"",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{,}",
        "[}",
        "{]",
        "[1}",
        "",
        "1 1",
    ];
    for value in bad {
        let line = format!("{{\"v\":{value},\"x\":1}}");
        assert!(serde_json::from_str::<Value>(&line).is_err(), "{line}");
        assert_eq!(values(&mut top(&["x"]), &line), Err(Reason::BadJson), "{line}");
    }
}

#[test]
fn what_fuzzing_kept_is_taken_as_serde_json_takes_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/json_lines");
    // One of the keys is on no line, so that each walk goes on to the end.
    let (mut walker, mut lines) = (top(&["a", "b", "ab", "on no line"]), 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let data = std::fs::read(file.unwrap().path()).unwrap();
        for line in data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            let is_object =
                serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok() && line.first() == Some(&b'{');
            assert_eq!(walker.walk(line).is_ok(), is_object, "{:?}", String::from_utf8_lossy(line));
            lines += 1;
        }
    }
    assert!(lines > 30);
}

/// JSON text of all kinds, with odd white space and escapes.
fn json() -> impl Strategy<Value = String> {
    let space = prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\t \r")];
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        any::<String>().prop_map(|text| Value::String(text).to_string()),
        "[a-z\"\\\\\u{1}\n]{0,20}".prop_map(|text| Value::String(text).to_string()),
        Just(r#""\ud83d\ude00\u0041\/""#.to_owned()),
    ];
    (scalar, space)
        .prop_recursive(4, 40, 5, |inner| {
            let value = inner.clone().prop_map(|(text, space)| format!("{space}{text}{space}"));
            let list = prop::collection::vec(value.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(",")));
            let members = prop::collection::btree_map("[a-e]{1,2}", value, 0..5);
            let object = members.prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                format!("{{ {} }}", members.join(" ,"))
            });
            (prop_oneof![list, object], Just("")).boxed()
        })
        .prop_map(|(text, _)| text)
}

fn line() -> impl Strategy<Value = String> {
    prop::collection::btree_map("[a-e]{1,2}", json(), 0..8).prop_flat_map(|members| {
        let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        Just(members).prop_shuffle().prop_map(|members| format!("{{{}}}", members.join(",")))
    })
}

/// What the raw value is, by `serde_json`.
fn parsed(raw: Raw<'_>) -> Option<Value> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let json = match raw {
        Raw::Absent => return None,
        Raw::Null => "null".to_owned(),
        Raw::Text(bytes) => return Some(Value::String(text(bytes))),
        Raw::Escaped(bytes) => {
            let mut out = Vec::new();
            scan::unescape(bytes, &mut out).unwrap();
            return Some(Value::String(text(&out)));
        }
        Raw::Number(bytes) | Raw::Bool(bytes) | Raw::Container(bytes) => text(bytes),
        Raw::Doubled(..) => unreachable!(),
    };
    Some(serde_json::from_str(&json).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn finds_what_serde_json_finds(line in line()) {
        let names = ["a", "b", "aa", "ab", "e"];
        let mut columns: Vec<_> = names.iter().map(|name| (*name, Origin::Name)).collect();
        columns.push(("n", Origin::Path("a.b".to_owned())));
        columns.push(("m", Origin::Path("c.a.e".to_owned())));
        let expected: Value = serde_json::from_str(&line).unwrap();
        let mut walker = walker(&columns);
        let found = values(&mut walker, &line).unwrap();
        for (name, raw) in names.iter().zip(&found) {
            prop_assert_eq!(parsed(*raw), expected.get(name).cloned(), "{}", name);
        }
        prop_assert_eq!(parsed(found[5]), expected.get("a").and_then(|a| a.get("b")).cloned());
        prop_assert_eq!(parsed(found[6]), expected.get("c").and_then(|c| c.get("a")?.get("e")).cloned());
    }

    #[test]
    fn what_lines_were_like_before_changes_nothing(lines in prop::collection::vec(line(), 1..8)) {
        let columns = [("a", Origin::Name), ("ab", Origin::Name), ("n", Origin::Path("b.a".to_owned()))];
        let mut walker = walker(&columns);
        // Twice, so that each line also follows one of the same shape.
        for line in lines.iter().flat_map(|line| [line, line]) {
            let mut fresh = self::walker(&columns);
            prop_assert_eq!(values(&mut walker, line), values(&mut fresh, line), "{}", line);
        }
    }

    #[test]
    fn agrees_with_serde_json_on_what_is_an_object(line in line(), at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
        let mut damaged = line.into_bytes();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let line = String::from_utf8_lossy(&damaged).into_owned();
        // A column that no line has makes the walk go to the end.
        let ours = values(&mut top(&["zz"]), line.trim_ascii()).is_ok();
        let is_object = serde_json::from_str::<Value>(&line).is_ok_and(|value| value.is_object());
        // Lone surrogates and numbers beyond f64 are no breach of the grammar.
        let stricter = line.contains("\\ud") || line.contains("\\uD") || line.contains('e') || line.contains('E');
        prop_assert!(ours == is_object || (ours && stricter), "{}", line);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(prop_oneof![
        Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b'\\'), Just(b','), Just(b':'), Just(b'a'),
        Just(b'u'), Just(b'1'), Just(b' '), any::<u8>(),
    ], 0..60)) {
        let mut walker = walker(&[("a", Origin::Name), ("b", Origin::Path("a.a".to_owned()))]);
        let line = [b"{", &bytes[..], b"}"].concat();
        if walker.walk(&line).is_ok() {
            for slot in 0..walker.slots.len() {
                let _ = walker.raw(&line, slot);
            }
        }
        let _ = walker.walk(&bytes);
    }
}
