//! Daily snapshots: every user's runs as of the end of a day, in parts, and which files they were made from.
//!
//! A part is a file of users; each part goes on where the one before ends.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use neartime_model::{ContentOrder, FeatureVersion, Generation, Instant};

use super::users_file::UsersFile;
use super::users_writer::{Records, UsersWriter};
use crate::durable::{Syncs, Unsynced, sealed, sync_folder, unsealed, write_durably};
use crate::error::AirError;
use crate::input::{FileId, Known};

const TITLE: &str = "neartime user database, form 4";
const MANIFEST: &str = "manifest";
const INPUTS: &str = "inputs";

/// A part that is larger than this is followed by another.
const PART_BYTES: u64 = 8 << 20;
const FEW_PARTS_BYTES: u64 = 1 << 30;

/// So many parts that are done are left in memory until the snapshot is finished: whoever writes the next one would
/// wait for a slow disk too. Those before them go to the disk meanwhile.
const PARTS_IN_MEMORY: usize = 32;

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
    /// The last ones that are done.
    done: VecDeque<Unsynced>,
    parts: usize,
    users: usize,
    /// `None` once they are waited for.
    syncs: Option<Syncs>,
}

/// A snapshot whose users are all written, but which nobody sees yet, and of which the disk may not have everything.
#[derive(Debug)]
#[must_use = "it is not there before it is published"]
pub(crate) struct Hidden {
    draft: Arc<Draft>,
    snapshot: Arc<Snapshot>,
}

impl Snapshot {
    /// Reads the manifest in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, AirError> {
        let path = folder.join(MANIFEST);
        let damaged = || AirError::DamagedUdb { path: path.clone(), reason: "a line of the manifest makes no sense" };
        let text = read_text(&path)?;
        text.as_deref().and_then(unsealed).and_then(|text| read_manifest(text, folder)).ok_or_else(damaged)
    }

    /// The files that it was made from.
    pub(crate) fn inputs(&self) -> Result<&Inputs, AirError> {
        if let Some(inputs) = self.inputs.get() {
            return Ok(inputs);
        }
        let path = self.folder.join(INPUTS);
        let text = read_text(&path)?;
        let text = text.as_deref().and_then(unsealed);
        let inputs = text.and_then(|text| text.lines().map(read_input).collect());
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
        let parts = Parts {
            next: 0,
            waiting: BTreeMap::new(),
            part: None,
            done: VecDeque::new(),
            parts: 0,
            users: 0,
            syncs: Some(Syncs::begin()),
        };
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
        if part.len() >= self.part_bytes { parts.end_part(PARTS_IN_MEMORY) } else { Ok(()) }
    }

    /// Ends the last part. Returns how many there are, and how many users.
    fn end(&self) -> Result<(usize, usize), AirError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(parts.waiting.is_empty(), "every number up to the last was written");
        parts.end_part(PARTS_IN_MEMORY)?;
        Ok((parts.parts, parts.users))
    }

    /// Waits until the disk has all parts.
    fn sync(&self) -> Result<(), AirError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.end_part(0)?;
        parts.syncs.take().map_or(Ok(()), Syncs::end)
    }

    /// Opens the parts as files without names: they go with their last handle.
    pub(crate) fn unnamed_parts(&self) -> Result<Vec<Arc<UsersFile>>, AirError> {
        let (parts, _) = self.end()?;
        let open = |part| UsersFile::open(&part_path(&self.folder, part)).map(Arc::new);
        let files = (0..parts).map(open).collect::<Result<_, _>>()?;
        std::fs::remove_dir_all(&self.folder).map_err(AirError::file("remove", &self.folder))?;
        Ok(files)
    }

    /// Ends the snapshot, under a name that no other ever had.
    pub(crate) fn finish(self: Arc<Self>, inputs: Inputs, names: [usize; 3], name: &str) -> Result<Hidden, AirError> {
        let (parts, users) = self.end()?;
        let (folder, files) = (self.folder.with_file_name(name), inputs.len());
        let snapshot = Snapshot { folder, end: self.end, parts, users, names, files, inputs: inputs.into() };
        Ok(Hidden { draft: self, snapshot: Arc::new(snapshot) })
    }
}

impl Parts {
    /// Ends the part that is being written, and sends all that are done to the disk, but for the last `in_memory`.
    fn end_part(&mut self, in_memory: usize) -> Result<(), AirError> {
        let ended = self.part.take().map(UsersWriter::finish).transpose()?;
        self.done.extend(ended);
        let many = self.done.len().saturating_sub(in_memory);
        if let Some(syncs) = &self.syncs {
            self.done.drain(..many).for_each(|part| syncs.push(part));
        }
        Ok(())
    }
}

impl Hidden {
    /// What it will be.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Waits until the disk has all of it, and makes it visible.
    pub(crate) fn publish(self) -> Result<(), AirError> {
        let (hidden, folder) = (&self.draft.folder, &self.snapshot.folder);
        self.draft.sync()?;
        write_durably(&hidden.join(INPUTS), sealed(write_inputs(self.snapshot.inputs()?)).as_bytes())?;
        write_durably(&hidden.join(MANIFEST), sealed(write_manifest(&self.snapshot)).as_bytes())?;
        std::fs::rename(hidden, folder).map_err(AirError::file("rename", hidden))?;
        folder.parent().map_or(Ok(()), sync_folder)
    }
}

/// `None` if the file is missing or no text. A disk that cannot be read now says nothing about what is on it.
fn read_text(path: &Path) -> Result<Option<String>, AirError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(AirError::file("read", path)(error)),
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
    for (path, Known { id, order, content }) in inputs {
        let FileId { size_bytes, modified_ns, tag } = id;
        let ContentOrder { version, generation } = order;
        let line = writeln!(text, "{path}\t{version}\t{generation}\t{size_bytes}\t{modified_ns}\t{tag}\t{content}");
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
    let content = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some((path, Known { id, order, content }))
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
            content: 10,
        };
        let inputs: Inputs = [("a/year=2018/x.parquet", 3), ("b/x%2E.parquet", 1)]
            .map(|(path, generation)| (path.to_owned(), known(generation)))
            .into();
        let end: Instant = "2018-08-02".parse().unwrap();
        let draft = Arc::new(Draft::begin(folder.path(), "draft", end, 1).unwrap());
        for number in [1, 0, 2] {
            let mut records = draft.records();
            records.push(format!("user-{number}").as_bytes(), &[]);
            draft.write(number, records).unwrap();
        }
        let hidden = draft.finish(inputs.clone(), [3, 2, 1], "2018-08-01-1").unwrap();
        let published = Arc::clone(hidden.snapshot());
        assert!(Snapshot::open(published.folder()).is_err());
        hidden.publish().unwrap();
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
