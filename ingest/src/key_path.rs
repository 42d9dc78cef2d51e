//! Keys of a bucket as paths of `object_store`, both ways, whatever is in them.
//!
//! A key is any text of up to 1,024 bytes; a [`Path`] has no empty names (`a//b`, `a/`), no `.` and `..`, and no control
//! characters. A client that drops or rewrites those parts opens another object than it listed, and one that refuses
//! them cannot list a bucket in which somebody once wrote one. So they are carried in an escaped form that begins with
//! U+FDD0, a character that Unicode keeps for such uses: `a//b` travels as `a/<U+FDD0>e/b`. Ordinary keys, percent signs
//! included, are their own path.
//!
//! **Invariant:** a bucket's store takes and gives paths in this form; what reads and writes the form is here alone.

use std::borrow::Cow;
use std::fmt::Write as _;

use object_store::path::Path;

/// Begins what an ordinary path cannot hold.
const ESCAPE: char = '\u{FDD0}';

/// The path that carries a key.
///
/// ```
/// use neartime_ingest::key_path::{key_of_path, path_of_key};
/// assert_eq!(path_of_key("in/100%/a b+c.gz").as_ref(), "in/100%/a b+c.gz");
/// assert_eq!(key_of_path(&path_of_key("in//a\n/..")), "in//a\n/..");
/// ```
pub fn path_of_key(key: &str) -> Path {
    if key.is_empty() {
        return Path::ROOT;
    }
    let mut text = String::with_capacity(key.len());
    for (index, name) in key.split('/').enumerate() {
        if index > 0 {
            text.push('/');
        }
        push_escaped(&mut text, name);
    }
    Path::parse(&text).expect("what a path cannot hold is escaped")
}

/// The key that a path carries.
pub fn key_of_path(path: &Path) -> Cow<'_, str> {
    if !path.as_ref().contains(ESCAPE) {
        return Cow::Borrowed(path.as_ref());
    }
    let names: Vec<String> = path.as_ref().split('/').map(plain).collect();
    Cow::Owned(names.join("/"))
}

fn push_escaped(text: &mut String, name: &str) {
    match name {
        "" => text.extend([ESCAPE, 'e']),
        "." | ".." => text.extend([ESCAPE, 'd'].into_iter().chain(name.chars())),
        _ => {
            for character in name.chars() {
                match character {
                    ESCAPE => text.extend([ESCAPE, ESCAPE]),
                    control if control.is_ascii_control() => {
                        write!(text, "{ESCAPE}x{:02x}", u32::from(control)).expect("writing to a String cannot fail");
                    }
                    other => text.push(other),
                }
            }
        }
    }
}

/// Undoes [`push_escaped`]; an escape that it does not write stays as it is.
fn plain(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find(ESCAPE) {
        text.push_str(&rest[..at]);
        let escaped = &rest[at + ESCAPE.len_utf8()..];
        let hexadecimal = |digits: &str| u8::from_str_radix(digits, 16).ok().map(char::from);
        let (character, used) = match escaped.chars().next() {
            Some('e' | 'd') => (None, 1),
            Some('x') if escaped.get(1..3).and_then(hexadecimal).is_some() => {
                (escaped.get(1..3).and_then(hexadecimal), 3)
            }
            Some(ESCAPE) => (Some(ESCAPE), ESCAPE.len_utf8()),
            _ => (Some(ESCAPE), 0),
        };
        text.extend(character);
        rest = &escaped[used..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_key_comes_back(key in "([a./ \\x00-\\x1f\\x7f\u{FDD0}%ex0é]|\\PC){0,30}") {
            let path = path_of_key(&key);
            prop_assert_eq!(Path::parse(path.as_ref()).unwrap(), path.clone());
            prop_assert_eq!(key_of_path(&path), key);
        }
    }

    #[test]
    fn different_keys_have_different_paths() {
        let keys = [
            "a",
            "/a",
            "a/",
            "//a",
            "a//",
            "a//b",
            "a/./b",
            "a/../b",
            "a/b",
            ".",
            "..",
            "/",
            "//",
            "a/\u{FDD0}e/b",
            "",
        ];
        let paths: HashSet<Path> = keys.iter().map(|key| path_of_key(key)).collect();
        assert_eq!(paths.len(), keys.len());
        assert_eq!(path_of_key("a/b").as_ref(), "a/b");
    }
}
