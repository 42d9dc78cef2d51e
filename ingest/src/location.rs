//! Locations: the directory or bucket prefix that a source's files lie in.
//!
//! A location opens objects by key and tells how they are named in the task table. The clients of a bucket are built
//! elsewhere and passed in; what lies where is found by `discover`.

use std::borrow::Cow;
use std::fmt;
use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::Arc;

use neartime_model::{Classify, ErrorKind, FileKey, FilePath, FileVersion};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::key_path::{key_of_path, path_of_key};

/// Where the files of a source lie. Cheap to clone.
///
/// Its `Debug` and `Display` show only what the configuration says, never the client, which knows secrets.
#[derive(Clone)]
pub struct Location {
    written: String,
    place: Place,
    store: Arc<dyn ObjectStore>,
    /// Place of the location within its store; no slashes at its ends.
    prefix: String,
}

#[derive(Clone)]
enum Place {
    Directory(PathBuf),
    /// `s3://bucket`
    Bucket(String),
}

/// A location that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the location `{written}` cannot be used: {reason}")]
pub struct InvalidLocation {
    written: String,
    reason: &'static str,
}

impl Classify for InvalidLocation {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Location {
    /// A directory: `written` is the configuration's text, `resolved` the absolute path that it means. The directory
    /// need not exist yet.
    pub fn directory(written: impl Into<String>, resolved: impl AsRef<FsPath>) -> Result<Self, InvalidLocation> {
        let written = written.into();
        let directory = without_dots(resolved.as_ref());
        let prefix = match directory.to_str() {
            Some(text) if directory.is_absolute() => text.trim_matches('/').to_owned(),
            Some(_) => return Err(InvalidLocation { written, reason: "its directory is no absolute path" }),
            None => return Err(InvalidLocation { written, reason: "its path is no UTF-8" }),
        };
        // Rooted at `/` and not at the directory: that it is away for a while must not be an error here.
        Ok(Self { written, place: Place::Directory(directory), store: Arc::new(LocalFileSystem::new()), prefix })
    }

    /// A bucket prefix, `s3://bucket/prefix`, whose objects `store` (the whole bucket) holds.
    pub fn bucket(written: impl Into<String>, store: Arc<dyn ObjectStore>) -> Result<Self, InvalidLocation> {
        let written = written.into();
        let Some((scheme, rest)) = written.split_once("://") else {
            return Err(InvalidLocation { written, reason: "it does not begin with s3://" });
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/').to_owned();
        if bucket.is_empty() {
            return Err(InvalidLocation { written, reason: "it names no bucket: write s3://bucket/prefix" });
        }
        if Path::parse(&prefix).is_err() {
            return Err(InvalidLocation {
                written,
                reason: "its prefix has an empty name, `.`, `..` or a control character",
            });
        }
        let place = Place::Bucket(format!("{scheme}://{bucket}"));
        Ok(Self { written, place, store, prefix })
    }

    /// The `source_bucket` of its tasks: `s3://raw-data-reservoir`, or a directory's location as written.
    pub fn source_bucket(&self) -> &str {
        match &self.place {
            Place::Directory(_) => &self.written,
            Place::Bucket(bucket) => bucket,
        }
    }

    /// The `file_path` of tasks whose files' path below the location is `part` (see
    /// [`Layout::path_part`](crate::Layout::path_part)): `in/horizontals/olx/android/` in a bucket, the part itself in
    /// a directory.
    pub fn file_path(&self, part: &str) -> FilePath {
        match &self.place {
            Place::Bucket(_) if !self.prefix.is_empty() => FilePath::new(format!("{}/{part}", self.prefix)),
            _ => FilePath::new(part),
        }
    }

    /// Tells one content of a key from another: the unquoted ETag; in a directory `<size>-<modification time in ns>`.
    pub fn version_of(&self, meta: &ObjectMeta) -> FileVersion {
        match (&self.place, &meta.e_tag) {
            (Place::Bucket(_), Some(tag)) => FileVersion::new(tag.trim_start_matches("W/").trim_matches('"')),
            _ => {
                let modified = meta.last_modified;
                let nanos = modified.timestamp_nanos_opt().unwrap_or_else(|| modified.timestamp_micros());
                FileVersion::new(format!("{}-{nanos}", meta.size))
            }
        }
    }

    /// The store that opens what [`Self::object_path`] names.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where the object of `key` is in [`Self::store`].
    pub fn object_path(&self, key: &FileKey) -> Path {
        self.path_below(key.as_str())
    }

    /// Asks whether the location can be reached and read.
    ///
    /// An object that is not found is gone only if this succeeds: a directory that is not mounted, or a bucket that
    /// was deleted, answers "not found" too.
    pub async fn check(&self) -> object_store::Result<()> {
        match &self.place {
            Place::Directory(directory) => {
                let directory = directory.clone();
                tokio::task::spawn_blocking(move || {
                    std::fs::read_dir(&directory).map(drop).map_err(|error| away(told(error)))
                })
                .await?
            }
            Place::Bucket(_) => {
                // An offset after everything else: the answer is the bucket's, and short.
                let last = self.path_below("\u{10FFFF}");
                let mut objects = self.store.list_with_offset(Some(&self.path_below("")), &last);
                futures::TryStreamExt::try_next(&mut objects).await.map(drop).map_err(|error| match error {
                    object_store::Error::NotFound { source, .. } => {
                        object_store::Error::Generic { store: "bucket", source }
                    }
                    other => other,
                })
            }
        }
    }

    /// The key below the location of the object `key` in `bucket` (in its own, where none is named); `None` for what
    /// lies in another bucket or outside the prefix, and where the location is a directory.
    pub(crate) fn key_in_bucket<'k>(&self, bucket: Option<&str>, key: &'k str) -> Option<&'k str> {
        let Place::Bucket(own) = &self.place else { return None };
        let own = own.split_once("://").map_or(own.as_str(), |(_, name)| name);
        if bucket.is_some_and(|bucket| bucket != own) {
            return None;
        }
        self.below_prefix(key)
    }

    fn below_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        if self.prefix.is_empty() { Some(key) } else { key.strip_prefix(self.prefix.as_str())?.strip_prefix('/') }
    }

    /// The directory, unless it is a bucket.
    pub(crate) fn as_directory(&self) -> Option<&FsPath> {
        match &self.place {
            Place::Directory(directory) => Some(directory),
            Place::Bucket(_) => None,
        }
    }

    /// The path in the store of a key or folder below the location; of the location itself for the empty text.
    pub(crate) fn path_below(&self, below: &str) -> Path {
        let slash = if self.prefix.is_empty() || below.is_empty() { "" } else { "/" };
        let text = format!("{}{slash}{below}", self.prefix);
        match self.place {
            Place::Bucket(_) => path_of_key(&text),
            // What no listing yields (`..`, control characters) is escaped: it is found nowhere, and leads nowhere else.
            Place::Directory(_) => Path::parse(&text).unwrap_or_else(|_| Path::from(text)),
        }
    }

    /// The key below the location of an object in the store.
    pub(crate) fn key_of<'p>(&self, path: &'p Path) -> Option<Cow<'p, str>> {
        let key = match self.place {
            Place::Bucket(_) => key_of_path(path),
            Place::Directory(_) => Cow::Borrowed(path.as_ref()),
        };
        match key {
            Cow::Borrowed(key) => self.below_prefix(key).map(Cow::Borrowed),
            Cow::Owned(key) => self.below_prefix(&key).map(|key| Cow::Owned(key.to_owned())),
        }
    }
}

/// The location as the configuration writes it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Location").field(&self.written).finish()
    }
}

/// What to do about a directory that is not there, which the system does not tell.
fn told(error: std::io::Error) -> std::io::Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            std::io::Error::new(error.kind(), "there is no such directory: make or mount it, or correct `location`")
        }
        _ => error,
    }
}

/// A directory that cannot be read, as the error of a store.
pub(crate) fn away(error: std::io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "directory", source: Box::new(error) }
}

/// `path` without `.` and `..`, by the text alone: an object store knows neither.
fn without_dots(path: &FsPath) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    fn bucket(written: &str) -> Location {
        Location::bucket(written, Arc::new(InMemory::new())).unwrap()
    }

    #[test]
    fn the_task_table_shows_bucket_and_path() {
        let seed = bucket("s3://raw-data-reservoir/in/horizontals");
        assert_eq!(seed.source_bucket(), "s3://raw-data-reservoir");
        assert_eq!(seed.file_path("olx/android/").as_str(), "in/horizontals/olx/android/");
        assert_eq!(bucket("s3://raw/").file_path("olx/").as_str(), "olx/");
        let directory = Location::directory("raw/in", "/somewhere/raw/in").unwrap();
        assert_eq!(directory.source_bucket(), "raw/in");
        assert_eq!(directory.file_path("olx/android/").as_str(), "olx/android/");
    }

    #[test]
    fn refuses_what_is_no_location() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for written in ["s3://", "s3:///prefix", "bucket", "s3://bucket/a//b"] {
            assert!(Location::bucket(written, Arc::clone(&store)).is_err(), "{written}");
        }
        assert!(Location::directory("raw", "raw").is_err());
    }

    #[test]
    fn keys_stay_below_the_location() {
        let directory = Location::directory("raw", "/a/./b/../raw").unwrap();
        assert_eq!(directory.as_directory(), Some(FsPath::new("/a/raw")));
        assert_eq!(directory.path_below("x/y.gz").as_ref(), "a/raw/x/y.gz");
        assert!(!directory.path_below("../../etc/passwd").as_ref().contains("/../"));
        assert_eq!(directory.key_of(&Path::from("a/raw/x.gz")).as_deref(), Some("x.gz"));
        assert_eq!(directory.key_of(&Path::from("a/rawer/x.gz")), None);
    }

    #[tokio::test]
    async fn odd_names_open_again() {
        let raw = tempfile::tempdir().unwrap();
        let location = Location::directory("raw", raw.path()).unwrap();
        for name in
            ["a b+c.gz", "100%.gz", "a%2Bb.gz", "x#y.gz", "été-日本.gz", "q?a&b=c.gz", "back\\slash.gz", "~'\".gz"]
        {
            std::fs::write(raw.path().join(name), name).unwrap();
            let got = location.store().get(&location.object_path(&FileKey::new(name))).await.unwrap();
            let modified = std::fs::metadata(raw.path().join(name)).unwrap().modified().unwrap();
            let nanos = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
            assert_eq!(location.version_of(&got.meta).as_str(), format!("{}-{nanos}", name.len()));
            assert_eq!(got.bytes().await.unwrap(), name.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_away_is_told_from_a_file_that_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let location = Location::directory("raw", home.path().join("raw")).unwrap();
        location.check().await.unwrap_err();
        std::fs::create_dir(home.path().join("raw")).unwrap();
        location.check().await.unwrap();
        let missing = location.object_path(&FileKey::new("missing.gz"));
        let error = location.store().head(&missing).await.unwrap_err();
        assert!(matches!(error, object_store::Error::NotFound { .. }));
        bucket("s3://raw/in").check().await.unwrap();
    }

    #[test]
    fn the_version_in_a_bucket_is_the_unquoted_etag() {
        let location = bucket("s3://raw");
        let meta = |tag: &str| ObjectMeta {
            location: Path::from("x"),
            last_modified: chrono::DateTime::from_timestamp_nanos(1_533_120_154_000_000_001),
            size: 7,
            e_tag: Some(tag.to_owned()),
            version: None,
        };
        assert_eq!(location.version_of(&meta("\"abc-2\"")).as_str(), "abc-2");
        assert_eq!(location.version_of(&meta("W/\"abc\"")).as_str(), "abc");
        let directory = Location::directory("raw", "/raw").unwrap();
        assert_eq!(directory.version_of(&meta("\"abc\"")).as_str(), "7-1533120154000000001");
    }

    #[test]
    fn shows_nothing_but_what_was_written() {
        let location = bucket("s3://raw/in");
        assert_eq!(format!("{location} {location:?}"), "s3://raw/in Location(\"s3://raw/in\")");
    }
}
