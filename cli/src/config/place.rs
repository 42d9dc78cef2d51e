//! Where files and tables live, as the configuration writes it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Secret;
use super::value::Value;

/// A directory, or a prefix of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Relative ones are already joined to the configuration's own directory.
    Directory {
        written: String,
        path: PathBuf,
    },
    Bucket {
        bucket: String,
        prefix: String,
    },
}

impl Place {
    pub(super) fn read(value: &Value<'_>, base: &Path) -> Option<Self> {
        let written = value.text()?;
        match written.split_once("://") {
            None if written.is_empty() => value.problem("is empty: write a directory, or s3://bucket/prefix"),
            None => return Some(Self::Directory { path: base.join(&written), written }),
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if !bucket.is_empty() {
                    let prefix = prefix.trim_matches('/').to_owned();
                    return Some(Self::Bucket { bucket: bucket.to_owned(), prefix });
                }
                value.problem("names no bucket: write s3://bucket/prefix");
            }
            Some((scheme, _)) => {
                value.problem(format!("cannot be on {scheme}://: write a directory, or s3://bucket/prefix"))
            }
        }
        None
    }
}

impl Place {
    pub(crate) fn is_bucket(&self) -> bool {
        matches!(self, Self::Bucket { .. })
    }

    /// Whether it is `other`, or lies in it. A prefix is taken by whole names.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bucket { bucket, prefix }, Self::Bucket { bucket: other_bucket, prefix: other }) => {
                let below = prefix.strip_prefix(other.as_str());
                bucket == other_bucket
                    && (other.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            }
            (Self::Directory { path, .. }, Self::Directory { path: other, .. }) => path.starts_with(other),
            _ => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { written, .. } => f.write_str(written),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// A database: a SQLite file, or a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    /// `postgres://…` or `cassandra://…`, with its login.
    Server(Secret),
}

impl Database {
    /// Reads `sqlite://file`, or an address of `server`'s scheme. The text is never quoted: it may hold a password.
    pub(super) fn read(value: &Value<'_>, server: &str, base: &Path) -> Option<Self> {
        let written = value.text()?;
        let found = match written.split_once("://") {
            Some(("sqlite", file)) if !file.is_empty() => Some(Self::Sqlite(base.join(file))),
            Some((scheme, rest)) if !rest.is_empty() && is_scheme(scheme, server) => {
                Some(Self::Server(Secret::new(written)))
            }
            _ => None,
        };
        if found.is_none() {
            value.problem(format!("must be sqlite://file.db or {server}://…"));
        }
        found
    }
}

fn is_scheme(scheme: &str, server: &str) -> bool {
    scheme == server || (server == "postgres" && scheme == "postgresql")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(bucket: &str, prefix: &str) -> Place {
        Place::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
    }

    #[test]
    fn a_place_is_within_another_by_whole_names() {
        for (inner, outer, within) in [
            (bucket("raw", "in/features"), bucket("raw", "in"), true),
            (bucket("raw", "in"), bucket("raw", "in"), true),
            (bucket("raw", "in"), bucket("raw", ""), true),
            (bucket("raw", "input"), bucket("raw", "in"), false),
            (bucket("raw", ""), bucket("raw", "in"), false),
            (bucket("features", "in"), bucket("raw", "in"), false),
        ] {
            assert_eq!(inner.is_within(&outer), within, "{inner} in {outer}");
        }
    }
}
