//! Daily snapshots: every user's runs as of the end of a day, in parts, and which files they were made from.
//!
//! A part is a file of users; each part goes on where the one before ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use neartime_model::{ContentOrder, FeatureVersion, Generation, Instant};

use super::users_file::UsersFile;
use super::users_writer::{Records, UsersWriter};
use crate::durable::{Syncs, sync_folder, write_durably};
use crate::error::AirError;
use crate::input::{FileId, Known};

const TITLE: &str = "neartime user database, form 2";
const MANIFEST: &str = "manifest";
const INPUTS: &str = "inputs";

/// A part that is larger than this is followed by another.
const PART_BYTES: u64 = 8 << 20;
const FEW_PARTS_BYTES: u64 = 1 << 30;

/// The files of the features store that something was made from, by path.
pub(crate) type Inputs = BTreeMap<String, Known>;

/// A snapshot on disk.
#[derive(Debug)]
pub(crate) struct Snapshot {
    folder: PathBuf,
    /// The midnight that ends its last day: chunks that end later are not in it.
    pub(crate) end: Instant,
    /// How many parts it has.
    pub(super) parts: usize,
    /// How many users.
    pub(crate) users: usize,
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
    classes: usize,
    part_bytes: u64,
    parts: Mutex<Parts>,
}

/// What is written of a draft. Records come from many threads, numbered in order of their users.
#[derive(Debug)]
struct Parts {
    next: u64,
    /// Records that wait for others before them.
    waiting: BTreeMap<u64, Records>,
    part: Option<UsersWriter>,
    parts: usize,
    users: usize,
    /// `None` once it is finished.
    syncs: Option<Syncs>,
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

    /// Opens a part.
    pub(super) fn part(&self, part: usize) -> Result<Arc<UsersFile>, AirError> {
        UsersFile::open(&part_path(&self.folder, part)).map(Arc::new)
    }

    /// Opens the parts in turn.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Result<Arc<UsersFile>, AirError>> {
        (0..self.parts).map(|part| self.part(part))
    }
}

impl Draft {
    /// Begins a snapshot in an empty hidden folder below `days`.
    pub(crate) fn begin(days: &Path, name: &str, end: Instant, classes: usize) -> Result<Self, AirError> {
        let folder = days.join(format!(".{name}"));
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(AirError::file("remove", &folder)(error));
            }
            _ => std::fs::create_dir_all(&folder).map_err(AirError::file("create", &folder))?,
        }
        let parts =
            Parts { next: 0, waiting: BTreeMap::new(), part: None, parts: 0, users: 0, syncs: Some(Syncs::begin()) };
        Ok(Self { folder, end, classes, part_bytes: PART_BYTES, parts: Mutex::new(parts) })
    }

    /// The same in as few parts as can be.
    pub(crate) fn in_few_parts(self) -> Self {
        Self { part_bytes: FEW_PARTS_BYTES, ..self }
    }

    /// An empty list of records for this draft.
    pub(crate) fn records(&self) -> Records {
        Records::new(self.end.as_millis())
    }

    /// Writes the records of a number, from 0, once all before it are written. Returns records to use again, if any.
    pub(crate) fn write(&self, number: u64, records: Records) -> Result<Option<Records>, AirError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.waiting.insert(number, records);
        let mut done = None;
        loop {
            let next = parts.next;
            let Some(mut records) = parts.waiting.remove(&next) else { return Ok(done) };
            self.append(&mut parts, &records)?;
            parts.next += 1;
            records.clear();
            done = Some(records);
        }
    }

    fn append(&self, parts: &mut Parts, records: &Records) -> Result<(), AirError> {
        if records.len() == 0 {
            return Ok(());
        }
        let part = match &mut parts.part {
            Some(part) => part,
            None => {
                let path = part_path(&self.folder, parts.parts);
                parts.parts += 1;
                parts.part.insert(UsersWriter::create(&path, self.end.as_millis(), self.classes)?)
            }
        };
        part.append(records)?;
        parts.users += records.users();
        if part.len() >= self.part_bytes {
            let (part, syncs) = (parts.part.take(), &parts.syncs);
            if let Some((part, syncs)) = part.zip(syncs.as_ref()) {
                syncs.push(part.finish()?);
            }
        }
        Ok(())
    }

    /// Ends the last part, and waits until all are on disk. Returns how many there are, and how many users.
    fn finish(&self) -> Result<(usize, usize), AirError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(parts.waiting.is_empty(), "every number up to the last was written");
        let syncs = parts.syncs.take().expect("a draft is finished once");
        if let Some(part) = parts.part.take() {
            syncs.push(part.finish()?);
        }
        syncs.end()?;
        Ok((parts.parts, parts.users))
    }

    /// Opens the parts as files without names: they go with their last handle.
    pub(crate) fn unnamed_parts(&self) -> Result<Vec<Arc<UsersFile>>, AirError> {
        let (parts, _) = self.finish()?;
        let open = |part| UsersFile::open(&part_path(&self.folder, part)).map(Arc::new);
        let files = (0..parts).map(open).collect::<Result<_, _>>()?;
        std::fs::remove_dir_all(&self.folder).map_err(AirError::file("remove", &self.folder))?;
        Ok(files)
    }

    /// Makes the snapshot visible, under a name that no other ever had.
    pub(crate) fn publish(
        &self,
        inputs: Inputs,
        names: [usize; 3],
        days: &Path,
        name: &str,
    ) -> Result<Snapshot, AirError> {
        let (end, hidden) = (self.end, &self.folder);
        let (parts, users) = self.finish()?;
        let folder = days.join(name);
        let files = inputs.len();
        write_durably(&hidden.join(INPUTS), write_inputs(&inputs).as_bytes())?;
        let inputs = inputs.into();
        let snapshot = Snapshot { folder, end, parts, users, names, files, inputs };
        write_durably(&hidden.join(MANIFEST), write_manifest(&snapshot).as_bytes())?;
        let folder = &snapshot.folder;
        std::fs::rename(hidden, folder).map_err(AirError::file("rename", hidden))?;
        sync_folder(days)?;
        Ok(snapshot)
    }
}

fn part_path(folder: &Path, part: usize) -> PathBuf {
    folder.join(format!("{part:04}.users"))
}

fn write_manifest(snapshot: &Snapshot) -> String {
    let Snapshot { end, parts, users, names: [segments, sites, origins], files, .. } = snapshot;
    format!(
        "{TITLE}\nend\t{end}\nparts\t{parts}\nusers\t{users}\nsegments\t{segments}\nsites\t{sites}\norigins\t{origins}\nfiles\t{files}\n"
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
    let (parts, users) = (number("parts")?, number("users")?);
    let names = [number("segments")?, number("sites")?, number("origins")?];
    let files = number("files")?;
    let inputs = OnceLock::new();
    Some(Snapshot { folder: folder.to_owned(), end, parts, users, names, files, inputs })
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
        let draft = Draft::begin(folder.path(), "draft", end, 1).unwrap();
        for number in [1, 0, 2] {
            let mut records = draft.records();
            records.push(format!("user-{number}").as_bytes(), &[]);
            draft.write(number, records).unwrap();
        }
        let published = draft.publish(inputs.clone(), [3, 2, 1], folder.path(), "2018-08-01-1").unwrap();
        let found = Snapshot::open(published.folder()).unwrap();
        assert_eq!((found.end, found.users, found.names), (end, 3, [3, 2, 1]));
        let mut users = Vec::new();
        for part in found.parts() {
            part.unwrap().scan(|id, _| users.push(String::from_utf8(id.to_vec()).unwrap())).unwrap();
        }
        assert_eq!(users, ["user-0", "user-1", "user-2"]);
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
