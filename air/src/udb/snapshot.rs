//! Daily snapshots: every user's runs as of the end of a day, in buckets, and which files they were made from.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use neartime_model::{ContentOrder, FeatureVersion, Generation, Instant};

use super::users_file::UsersFile;
use crate::durable::{sync_folder, write_durably};
use crate::error::AirError;
use crate::input::{FileId, Known};

const TITLE: &str = "neartime user database, form 1";
const MANIFEST: &str = "manifest";
const INPUTS: &str = "inputs";

/// The files of the features store that something was made from, by path.
pub(crate) type Inputs = BTreeMap<String, Known>;

/// A snapshot on disk.
#[derive(Debug)]
pub(crate) struct Snapshot {
    folder: PathBuf,
    /// The midnight that ends its last day: chunks that end later are not in it.
    pub(crate) end: Instant,
    pub(crate) buckets: usize,
    /// How many names of each kind the dictionary had.
    pub(crate) names: [usize; 3],
    files: usize,
    /// Read when they are asked for: a year has a hundred thousand.
    inputs: OnceLock<Inputs>,
}

/// A snapshot in the making, in a hidden folder.
#[derive(Debug)]
pub(crate) struct Draft {
    folder: PathBuf,
    pub(crate) end: Instant,
    pub(crate) buckets: usize,
}

impl Snapshot {
    /// Reads the manifest in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, AirError> {
        let path = folder.join(MANIFEST);
        let damaged = || AirError::DamagedUdb { path: path.clone(), reason: "a line of the manifest makes no sense" };
        let text = std::fs::read_to_string(&path).map_err(|_| damaged())?;
        read_manifest(&text, folder).ok_or_else(damaged)
    }

    /// The files that it was made from.
    pub(crate) fn inputs(&self) -> Result<&Inputs, AirError> {
        if let Some(inputs) = self.inputs.get() {
            return Ok(inputs);
        }
        let path = self.folder.join(INPUTS);
        let inputs = std::fs::read_to_string(&path).ok().and_then(|text| text.lines().map(read_input).collect());
        let whole = inputs.filter(|inputs: &Inputs| inputs.len() == self.files);
        let inputs = whole.ok_or(AirError::DamagedUdb { path, reason: "the list of files makes no sense" })?;
        Ok(self.inputs.get_or_init(|| inputs))
    }

    /// Its folder's name, by which the last report's state refers to it.
    pub(crate) fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the users of a bucket.
    pub(crate) fn bucket(&self, bucket: usize) -> Result<UsersFile, AirError> {
        UsersFile::open(&bucket_path(&self.folder, bucket))
    }
}

impl Draft {
    /// Begins a snapshot in an empty hidden folder below `days`.
    pub(crate) fn begin(days: &Path, end: Instant, buckets: usize) -> Result<Self, AirError> {
        let folder = days.join(format!(".{}", end.as_micros()));
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(AirError::file("remove", &folder)(error));
            }
            _ => std::fs::create_dir_all(&folder).map_err(AirError::file("create", &folder))?,
        }
        Ok(Self { folder, end, buckets })
    }

    /// Where the users of a bucket are to be written.
    pub(crate) fn bucket_path(&self, bucket: usize) -> PathBuf {
        bucket_path(&self.folder, bucket)
    }

    /// Makes the snapshot visible, under a name that no other ever had.
    pub(crate) fn publish(
        &self,
        inputs: Inputs,
        names: [usize; 3],
        days: &Path,
        name: &str,
    ) -> Result<Snapshot, AirError> {
        let folder = days.join(name);
        let files = inputs.len();
        write_durably(&self.folder.join(INPUTS), write_inputs(&inputs).as_bytes())?;
        let inputs = inputs.into();
        let snapshot = Snapshot { folder, end: self.end, buckets: self.buckets, names, files, inputs };
        write_durably(&self.folder.join(MANIFEST), write_manifest(&snapshot).as_bytes())?;
        let folder = &snapshot.folder;
        std::fs::rename(&self.folder, folder).map_err(AirError::file("rename", &self.folder))?;
        sync_folder(days)?;
        Ok(snapshot)
    }
}

fn bucket_path(folder: &Path, bucket: usize) -> PathBuf {
    folder.join(format!("{bucket:04}.users"))
}

fn write_manifest(snapshot: &Snapshot) -> String {
    let Snapshot { end, buckets, names: [segments, sites, origins], files, .. } = snapshot;
    format!(
        "{TITLE}\nend\t{end}\nbuckets\t{buckets}\nsegments\t{segments}\nsites\t{sites}\norigins\t{origins}\nfiles\t{files}\n"
    )
}

fn read_manifest(text: &str, folder: &Path) -> Option<Snapshot> {
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return None;
    }
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix('\t');
    let end = field("end")?.parse().ok()?;
    let mut number = |name: &str| -> Option<usize> { field(name)?.parse().ok() };
    let buckets = number("buckets")?;
    let names = [number("segments")?, number("sites")?, number("origins")?];
    let files = number("files")?;
    let inputs = OnceLock::new();
    buckets.is_power_of_two().then(|| Snapshot { folder: folder.to_owned(), end, buckets, names, files, inputs })
}

fn write_inputs(inputs: &Inputs) -> String {
    let mut text = String::new();
    for (path, Known { id, order }) in inputs {
        let FileId { size_bytes, modified_ns, tag } = id;
        let ContentOrder { version, generation } = order;
        let line = writeln!(text, "{path}\t{version}\t{generation}\t{size_bytes}\t{modified_ns}\t{tag}");
        line.expect("writing to a String cannot fail");
    }
    text
}

fn read_input(line: &str) -> Option<(String, Known)> {
    let mut fields = line.split('\t');
    let path = fields.next()?.to_owned();
    let version = FeatureVersion(fields.next()?.parse().ok()?);
    let order = ContentOrder { version, generation: Generation(fields.next()?.parse().ok()?) };
    let size_bytes = fields.next()?.parse().ok()?;
    let modified_ns = fields.next()?.parse().ok()?;
    let id = FileId { size_bytes, modified_ns, tag: fields.next()?.parse().ok()? };
    fields.next().is_none().then_some((path, Known { id, order }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_a_torn_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let known = |generation| Known {
            id: FileId { size_bytes: 7, modified_ns: -8, tag: 9 },
            order: ContentOrder { version: FeatureVersion(2), generation: Generation(generation) },
        };
        let inputs: Inputs = [("a/year=2018/x.parquet", 3), ("b/x%2E.parquet", 1)]
            .map(|(path, generation)| (path.to_owned(), known(generation)))
            .into();
        let end: Instant = "2018-08-02".parse().unwrap();
        let draft = Draft::begin(folder.path(), end, 16).unwrap();
        let published = draft.publish(inputs.clone(), [3, 2, 1], folder.path(), "2018-08-01-1").unwrap();
        let found = Snapshot::open(published.folder()).unwrap();
        assert_eq!((found.end, found.buckets, found.names), (end, 16, [3, 2, 1]));
        assert_eq!(found.inputs().unwrap(), &inputs);
        assert_eq!(found.name(), "2018-08-01-1");

        let list = published.folder().join(INPUTS);
        let text = std::fs::read_to_string(&list).unwrap();
        std::fs::write(&list, text.lines().next().unwrap()).unwrap();
        assert!(Snapshot::open(published.folder()).unwrap().inputs().is_err());
        std::fs::write(published.folder().join(MANIFEST), "neartime").unwrap();
        assert!(Snapshot::open(published.folder()).is_err());
    }
}
