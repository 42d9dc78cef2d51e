//! Names that become tables, columns and folders, checked once and then carried as types.

use std::fmt;
use std::str::FromStr;

/// Names that an engine's output may not have: they are columns of the store already.
pub const RESERVED_OUTPUT_NAMES: [&str; 9] =
    ["year", "month", "day", "hour", "ten_mins", "minute", "data_chunk", "file_path", "write_ts"];

/// Longest feature name: a Cassandra table name holds 48 bytes.
const MAX_FEATURE_NAME: usize = 48;

/// A name that cannot be used, with the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{name}` cannot be used: {rule}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Checks `name` and keeps it.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(&name) {
                    Ok(()) => Ok(Self(name)),
                    Err(rule) => Err(InvalidName { what: $what, name, rule }),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a feature: `[a-z_][a-z0-9_]*`, at most 48 bytes; a folder, a SQL table and a Cassandra table.
    FeatureName,
    "feature name",
    |name| match is_lower_snake(name) {
        true if name.len() <= MAX_FEATURE_NAME => Ok(()),
        true => Err("it is longer than 48 bytes"),
        false => Err("it must match [a-z_][a-z0-9_]*"),
    }
);

name!(
    /// The name of a source: letters, digits, `_` and `-`, not beginning with a digit or `-`.
    SourceName,
    "source name",
    |name| match name.as_bytes() {
        [first, rest @ ..]
            if (first.is_ascii_alphabetic() || *first == b'_')
                && rest.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) =>
            Ok(()),
        _ => Err("it must match [A-Za-z_][A-Za-z0-9_-]*"),
    }
);

name!(
    /// The name of an output column: `[a-z_][a-z0-9_]*`, none of [`RESERVED_OUTPUT_NAMES`].
    OutputName,
    "output column",
    |name| match is_lower_snake(name) {
        true if RESERVED_OUTPUT_NAMES.contains(&name) => Err("the features store has a column of that name already"),
        true => Ok(()),
        false => Err("it must match [a-z_][a-z0-9_]*"),
    }
);

fn is_lower_snake(name: &str) -> bool {
    match name.as_bytes() {
        [first, rest @ ..] => {
            (first.is_ascii_lowercase() || *first == b'_')
                && rest.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
        }
        [] => false,
    }
}
