//! What lines are and what their values are, against serde_json. The input is cut at newlines, as a file is: what one
//! line was like must change nothing about the next.

#![no_main]

use std::collections::BTreeSet;
use std::fmt;

use libfuzzer_sys::fuzz_target;
use neartime_fuzz::lines::{Raw, Walker, unescaped};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

const KEYS: [&str; 5] = ["a", "b", "ab", "key_of_a_longer_name_than_16", "never"];

/// The members of an object in their order, and whether all keys differ.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The value by serde_json; `None` if it is absent, or no text.
fn parsed(raw: Raw<'_>) -> Option<Value> {
    match raw {
        Raw::Absent => None,
        Raw::Null => Some(Value::Null),
        Raw::Text(text) => Some(Value::String(str::from_utf8(text).ok()?.to_owned())),
        Raw::Escaped(body) => unescaped(body).map(Value::String),
        Raw::Number(text) | Raw::Bool(text) | Raw::Container(text) => {
            Some(serde_json::from_slice(text).expect("the whole line was accepted"))
        }
    }
}

fuzz_target!(|data: &[u8]| {
    // One of the keys never comes, so that this walk goes on to the end of the line; the other one stops early.
    let (mut whole, mut early) = (Walker::new(&KEYS), Walker::new(&KEYS[..2]));
    for line in data.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        let ours = whole.walk(line);
        let grammar = serde_json::from_slice::<IgnoredAny>(line).is_ok() && line.first() == Some(&b'{');
        let early_too = early.walk(line);
        if line.windows(7).any(|part| part == b"\"never\"" || part == b"\"\\u006e") {
            continue;
        }
        assert_eq!(ours, grammar, "{:?}", String::from_utf8_lossy(line));
        assert!(early_too || !ours, "{:?}", String::from_utf8_lossy(line));
        let Ok(Members(members)) = serde_json::from_slice::<Members>(line) else { continue };
        let names: BTreeSet<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() < members.len() {
            continue;
        }
        for (at, key) in KEYS.iter().enumerate() {
            let expected = members.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
            assert_eq!(parsed(whole.value(line, at)), expected, "{key} of {:?}", String::from_utf8_lossy(line));
            if at < 2 {
                assert_eq!(early.value(line, at), whole.value(line, at), "{key} of {:?}", String::from_utf8_lossy(line));
            }
        }
    }
});
