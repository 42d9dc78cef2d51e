//! Raw files: their keys, versions and paths, and the names of what is published from them.

use std::fmt;
use std::fmt::Write as _;

use crate::SourceName;

macro_rules! text {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text!(
    /// The full name of a raw object below its source's location, as `olx/android/2018/08/01/201808-01-104234.gz`.
    FileKey
);

text!(
    /// What tells one content of a key from another: the unquoted ETag, locally `<size>-<modification time in ns>`.
    FileVersion
);

text!(
    /// A file's place down to the first time directive of its source's layout, captures filled in, as the task table
    /// shows it: `in/horizontals/olx/android/` in a bucket, the part below the location in a directory. May be empty.
    FilePath
);

/// The name, without extension, of the file that a run of `source` on a path with these captures publishes.
///
/// The parts are joined by dots; bytes of a part outside `[A-Za-z0-9_-]` are percent-encoded, dots too:
/// `horizontals.olx.android`.
pub fn partition_file_stem<'a>(source: &SourceName, captures: impl IntoIterator<Item = &'a str>) -> String {
    let mut stem = String::new();
    push_encoded(&mut stem, source.as_str());
    for capture in captures {
        stem.push('.');
        push_encoded(&mut stem, capture);
    }
    stem
}

fn push_encoded(stem: &mut String, part: &str) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            stem.push(char::from(byte));
        } else {
            write!(stem, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
}
