//! The dictionary: small numbers for the names of items, and for the origins of intervals.
//!
//! It only grows, and a number keeps its meaning for ever, so that snapshots, recent chunks and the last report's
//! counts can all refer to it. On disk it is a log: `kind, length, name, check` for each name in order. The names are
//! made durable before any file that uses their numbers; a torn end is cut off.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::hash::stable_hash;
use crate::error::AirError;

/// What a name is the name of. Each kind has its own numbers, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An item of a membership on the segments' side.
    Segment = 0,
    /// An item of a membership on the sites' side.
    Site = 1,
    /// A lane, and the values of its keys but the entity: see [`Origin`].
    Origin = 2,
}

const KINDS: [Kind; 3] = [Kind::Segment, Kind::Site, Kind::Origin];

/// Where an interval came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Number of the lane.
    pub(crate) lane: u8,
    /// Values of the keys but the entity.
    pub(crate) keys: Vec<Option<String>>,
}

/// The dictionary, shared by the threads that read files.
#[derive(Debug)]
pub(crate) struct Dictionary {
    path: PathBuf,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    numbers: [HashMap<Arc<[u8]>, u32>; 3],
    names: [Vec<Arc<[u8]>>; 3],
    /// What the file lacks, in its form.
    unsaved: Vec<u8>,
    saved_bytes: u64,
}

impl Dictionary {
    /// Reads the dictionary at `path`; a file that is not there is empty.
    pub(crate) fn open(path: &Path) -> Result<Self, AirError> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes).map_err(AirError::file("read", path)).map(drop)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(AirError::file("open", path)(error)),
        }
        let mut names = Names::default();
        let mut rest = bytes.as_slice();
        while let Some((kind, name)) = take_name(&mut rest) {
            names.number(kind, name);
        }
        names.unsaved.clear();
        names.saved_bytes = (bytes.len() - rest.len()) as u64;
        Ok(Self { path: path.to_owned(), names: Mutex::new(names) })
    }

    /// The number of `name`, a new one if need be.
    pub(crate) fn number(&self, kind: Kind, name: &[u8]) -> u32 {
        self.lock().number(kind, name)
    }

    /// The number of an origin, a new one if need be.
    pub(crate) fn origin(&self, origin: &Origin) -> u32 {
        let mut name = vec![origin.lane];
        for key in &origin.keys {
            match key {
                None => name.push(0),
                Some(text) => {
                    name.push(1);
                    name.extend((text.len() as u64).to_le_bytes());
                    name.extend(text.as_bytes());
                }
            }
        }
        self.number(Kind::Origin, &name)
    }

    /// All names of a kind; a name's number is its place.
    pub(crate) fn names(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        self.lock().names[kind as usize].clone()
    }

    /// The names of a kind from a number on.
    pub(crate) fn names_from(&self, kind: Kind, number: usize) -> Vec<Arc<[u8]>> {
        self.lock().names[kind as usize][number..].to_vec()
    }

    /// How many names of each kind there are, by which what refers to them can tell whether all are still known.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        let names = self.lock();
        KINDS.map(|kind| names.names[kind as usize].len())
    }

    /// Whether there are as many names as when something was written; fewer mean that the file was damaged since.
    pub(crate) fn covers(&self, sizes: [usize; 3]) -> bool {
        self.sizes().iter().zip(sizes).all(|(have, want)| *have >= want)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All origins; an origin's number is its place.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        let names = self.names(Kind::Origin);
        names.iter().map(|name| read_origin(name).expect("only `origin` makes such names")).collect()
    }

    /// The lanes of the origins from a number on.
    pub(crate) fn lanes_from(&self, number: usize) -> Vec<u8> {
        self.lock().names[Kind::Origin as usize][number..].iter().map(|name| name[0]).collect()
    }

    /// Makes all names durable: call before a file that uses their numbers appears.
    pub(crate) fn save(&self) -> Result<(), AirError> {
        let mut names = self.lock();
        if names.unsaved.is_empty() {
            return Ok(());
        }
        let write = || -> std::io::Result<u64> {
            let mut file = File::options().create(true).truncate(false).write(true).open(&self.path)?;
            file.set_len(names.saved_bytes)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(&names.unsaved)?;
            file.sync_all()?;
            file.stream_position()
        };
        names.saved_bytes = write().map_err(AirError::file("write", &self.path))?;
        names.unsaved.clear();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        // Every change is complete before anything in it can panic.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    fn number(&mut self, kind: Kind, name: &[u8]) -> u32 {
        let at = kind as usize;
        if let Some(&number) = self.numbers[at].get(name) {
            return number;
        }
        let number = u32::try_from(self.names[at].len()).expect("fewer than four billion items");
        let shared: Arc<[u8]> = name.into();
        self.numbers[at].insert(Arc::clone(&shared), number);
        self.names[at].push(shared);
        let begin = self.unsaved.len();
        self.unsaved.push(kind as u8);
        self.unsaved.extend((name.len() as u32).to_le_bytes());
        self.unsaved.extend_from_slice(name);
        let check = stable_hash(&self.unsaved[begin..]) as u32;
        self.unsaved.extend(check.to_le_bytes());
        number
    }
}

fn take_name<'a>(bytes: &mut &'a [u8]) -> Option<(Kind, &'a [u8])> {
    let (head, rest) = bytes.split_first_chunk::<5>()?;
    let kind = *KINDS.get(usize::from(head[0]))?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let (name, rest) = rest.split_at_checked(length)?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*check) != stable_hash(&bytes[..5 + length]) as u32 {
        return None;
    }
    *bytes = rest;
    Some((kind, name))
}

fn read_origin(name: &[u8]) -> Option<Origin> {
    let (&lane, mut rest) = name.split_first()?;
    let mut keys = Vec::new();
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        if tag == 0 {
            keys.push(None);
            continue;
        }
        let (length, after) = rest.split_first_chunk::<8>()?;
        let (text, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        keys.push(Some(String::from_utf8(text.to_vec()).ok()?));
        rest = after;
    }
    Some(Origin { lane, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_meaning_and_a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dictionary");
        let dictionary = Dictionary::open(&path).unwrap();
        assert_eq!([b"b", b"a", b"b"].map(|name| dictionary.number(Kind::Segment, name)), [0, 1, 0]);
        let origin = Origin { lane: 3, keys: vec![None, Some(String::new()), Some("za".to_owned())] };
        assert_eq!(dictionary.origin(&origin), 0);
        dictionary.save().unwrap();
        dictionary.number(Kind::Site, b"x");
        dictionary.save().unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();

        let again = Dictionary::open(&path).unwrap();
        assert_eq!(again.number(Kind::Segment, b"a"), 1);
        assert_eq!(again.origins(), [origin]);
        assert_eq!(again.sizes(), [2, 0, 1]);
        again.number(Kind::Site, b"x");
        again.save().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}
