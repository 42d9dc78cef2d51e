//! A file of users, sorted by id, in which some users are found without reading the others.
//!
//! ```text
//! records  one a user, see `record`
//! index    every two kilobytes or so: a user's id (length, bytes), how far its record is from the last one named
//! expiry   for each class: entries × (last_ms i64, place of the user's record u32), sorted: whose runs end when
//! footer   entries of each class u64, magic, base_ms, first_last_ms, last_last_ms, users, lengths of records and index,
//!          classes
//! ```
//!
//! A snapshot has several such files, and a copy of a recent chunk is one. Numbers of the index are varints, all others
//! little-endian.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use datafusion::arrow::buffer::Buffer;

use super::record::{Entry, Garbled, read_entries, read_id, read_number, read_record, skip_entries};
use super::users_index::UsersIndex;
use crate::error::AirError;
use crate::merge::{Block, User};

pub(super) const MAGIC: [u8; 8] = *b"NTUSERS3";
const EXPIRY: usize = 12;
/// Magic, base, two bounds, users, two lengths, number of classes.
const TAIL: usize = 8 * 8;
/// A record is first read as if it were no longer than this.
const RECORD_BYTES: usize = 512;

/// Reads a file of users, as little of it as it can.
#[derive(Debug)]
pub(crate) struct UsersFile {
    file: File,
    path: PathBuf,
    base_ms: i64,
    /// The earliest and the latest end of any run; the first is greater than the second if there is none.
    bounds: (i64, i64),
    users: usize,
    records_len: u64,
    index_len: usize,
    /// Entries of each class.
    expiry: Vec<usize>,
}

impl UsersFile {
    /// Opens the file and reads its footer.
    pub(crate) fn open(path: &Path) -> Result<Self, AirError> {
        let damaged = |reason| AirError::DamagedUdb { path: path.to_owned(), reason };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(damaged("it is missing")),
            Err(error) => return Err(AirError::file("open", path)(error)),
        };
        let length = file.metadata().map_err(AirError::file("look at", path))?.len();
        let too_short = || damaged("it is too short");
        let tail_at = length.checked_sub(TAIL as u64).ok_or_else(too_short)?;
        let tail = read(&file, path, tail_at, TAIL)?;
        if tail[..8] != MAGIC {
            return Err(damaged("it does not end as such a file must"));
        }
        let [base_ms, low, high, users, records_len, index_len, classes] =
            [1, 2, 3, 4, 5, 6, 7].map(|at| int_at(&tail, at));
        let [users, records_len, index_len, classes] = [users, records_len, index_len, classes].map(|n| n as u64);
        if users > length || classes > 256 {
            return Err(damaged("its footer makes no sense"));
        }
        let counts_at = tail_at.checked_sub(classes * 8).ok_or_else(too_short)?;
        let counts = read(&file, path, counts_at, classes as usize * 8)?;
        let expiry: Vec<usize> = (0..classes as usize).map(|class| int_at(&counts, class) as usize).collect();
        let expiry_len =
            expiry.iter().try_fold(0_u64, |sum, &count| sum.checked_add((count as u64).checked_mul(EXPIRY as u64)?));
        let whole = expiry_len.and_then(|expiry| records_len.checked_add(index_len)?.checked_add(expiry));
        if whole != Some(counts_at) {
            return Err(damaged("its parts do not add up"));
        }
        let (users, index_len) = (users as usize, index_len as usize);
        Ok(Self { file, path: path.to_owned(), base_ms, bounds: (low, high), users, records_len, index_len, expiry })
    }

    /// How many users there are.
    pub(crate) fn users(&self) -> usize {
        self.users
    }

    /// Whether some run ends in `(after_ms, until_ms]`, as far as the bounds tell.
    pub(crate) fn may_end_in(&self, after_ms: i64, until_ms: i64) -> bool {
        self.bounds.0 <= until_ms && self.bounds.1 > after_ms
    }

    /// The id of the first user; there must be one.
    pub(crate) fn first_id(&self) -> Result<Vec<u8>, AirError> {
        self.id_at(0)
    }

    /// Reads the index.
    pub(crate) fn index(&self) -> Result<UsersIndex, AirError> {
        let bytes = self.read(self.records_len, self.index_len)?;
        UsersIndex::read(&bytes, self.records_len).map_err(|Garbled| self.damaged("its index is garbled"))
    }

    /// Reads all users in order: `each` gets the id, and the entries.
    pub(crate) fn scan(&self, each: impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        let bytes = self.read(0, self.records_len as usize)?;
        self.records(&bytes, each)
    }

    /// Reads the ids of all users in order.
    pub(crate) fn scan_ids(&self, mut each: impl FnMut(&[u8])) -> Result<(), AirError> {
        let bytes = self.read(0, self.records_len as usize)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let id = read_id(&mut rest).and_then(|id| skip_entries(&mut rest).map(|()| id));
            each(id.map_err(|Garbled| self.damaged("a record is garbled"))?);
        }
        Ok(())
    }

    /// Reads the records that lie between two places of the index.
    pub(super) fn block(&self, places: Range<u64>) -> Result<Option<Block>, AirError> {
        let bytes = Buffer::from_vec(self.read(places.start, (places.end - places.start) as usize)?);
        // An entry takes about ten bytes.
        let (mut users, mut entries) = (Vec::new(), Vec::with_capacity(bytes.len() / 10));
        let position = |length: usize| u32::try_from(length).expect("a block is small");
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let mut next = || {
                let id = read_id(&mut rest)?;
                let (id_begin, id_len) = (position(bytes.len() - rest.len() - id.len()), position(id.len()));
                read_entries(&mut rest, self.base_ms, &mut entries)?;
                Ok(User { bytes: 0, id_begin, id_len, entries_end: position(entries.len()) })
            };
            users.push(next().map_err(|Garbled| self.damaged("a record is garbled"))?);
        }
        Ok(Block::new(vec![bytes], users, entries))
    }

    /// Reads the users among `wanted`, which is in rising order: `each` gets their places in it, and the entries.
    pub(crate) fn look_up(&self, wanted: &[&[u8]], mut each: impl FnMut(usize, &[Entry])) -> Result<(), AirError> {
        let (index, mut entries) = (self.index()?, Vec::new());
        let mut bytes = Vec::new();
        for (range, wanted_here) in index.spans_of(wanted) {
            bytes.resize((range.end - range.start) as usize, 0);
            read_into(&self.file, &self.path, range.start, &mut bytes)?;
            let mut rest = bytes.as_slice();
            let mut looked_for = wanted_here;
            while !rest.is_empty() && !looked_for.is_empty() {
                let garbled = |Garbled| self.damaged("a record is garbled");
                let id = read_id(&mut rest).map_err(garbled)?;
                while wanted[..looked_for.end].get(looked_for.start).is_some_and(|wanted| *wanted < id) {
                    looked_for.start += 1;
                }
                if looked_for.is_empty() || wanted[looked_for.start] != id {
                    skip_entries(&mut rest).map_err(garbled)?;
                    continue;
                }
                entries.clear();
                read_entries(&mut rest, self.base_ms, &mut entries).map_err(garbled)?;
                each(looked_for.start, &entries);
                looked_for.start += 1;
            }
        }
        Ok(())
    }

    /// The ids of the users who have a last run of `class` that ends in `(after_ms, until_ms]`.
    pub(crate) fn ending_in(&self, class: u8, after_ms: i64, until_ms: i64) -> Result<Vec<Vec<u8>>, AirError> {
        let before: usize = self.expiry[..usize::from(class)].iter().sum();
        let begin = self.records_len + (self.index_len + before * EXPIRY) as u64;
        let from = self.first_ending_after(begin, self.expiry[usize::from(class)], after_ms)?;
        let to = self.first_ending_after(begin, self.expiry[usize::from(class)], until_ms)?;
        let bytes = self.read(begin + (from * EXPIRY) as u64, to.saturating_sub(from) * EXPIRY)?;
        let offset = |entry: &[u8]| u32::from_le_bytes(entry[8..].try_into().expect("four bytes"));
        let offsets: BTreeSet<u32> = bytes.chunks_exact(EXPIRY).map(offset).collect();
        offsets.into_iter().map(|offset| self.id_at(u64::from(offset))).collect()
    }

    fn first_ending_after(&self, begin: u64, entries: usize, after_ms: i64) -> Result<usize, AirError> {
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let bytes = self.read(begin + (middle * EXPIRY) as u64, 8)?;
            if int_at(&bytes, 0) <= after_ms { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn id_at(&self, offset: u64) -> Result<Vec<u8>, AirError> {
        let left = self.records_len.saturating_sub(offset) as usize;
        let mut bytes = self.read(offset, left.min(RECORD_BYTES))?;
        if let Ok(id) = read_id(&mut bytes.as_slice()) {
            return Ok(id.to_vec());
        }
        // A very long id.
        let length = read_number(&mut bytes.as_slice()).ok().and_then(|length| usize::try_from(length).ok());
        bytes = self.read(offset, length.unwrap_or(left).saturating_add(10).min(left))?;
        read_id(&mut bytes.as_slice()).map(<[u8]>::to_vec).map_err(|Garbled| self.damaged("a record is garbled"))
    }

    fn records(&self, mut bytes: &[u8], mut each: impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            entries.clear();
            let id = read_record(&mut bytes, self.base_ms, &mut entries)
                .map_err(|Garbled| self.damaged("a record is garbled"))?;
            each(id, &entries);
        }
        Ok(())
    }

    fn damaged(&self, reason: &'static str) -> AirError {
        AirError::DamagedUdb { path: self.path.clone(), reason }
    }

    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, AirError> {
        read(&self.file, &self.path, at, length)
    }
}

fn read(file: &File, path: &Path, at: u64, length: usize) -> Result<Vec<u8>, AirError> {
    let mut bytes = vec![0; length];
    read_into(file, path, at, &mut bytes).map(|()| bytes)
}

fn read_into(file: &File, path: &Path, at: u64, bytes: &mut [u8]) -> Result<(), AirError> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(AirError::DamagedUdb { path: path.to_owned(), reason: "it ends too early" })
        }
        Err(error) => Err(AirError::file("read", path)(error)),
    }
}

/// The `at`-th number of eight bytes.
fn int_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::users_writer::{Records, UsersWriter};
    use super::*;
    use crate::runs::Run;

    const USERS: usize = 5_000;

    fn entry(item: u32, first_ms: i64, last_ms: i64) -> Entry {
        Entry { origin: 0, item, run: Run { first_ms, last_ms } }
    }

    fn id(user: usize) -> String {
        format!("user-{:0width$}", user, width = if user == 777 { 2_000 } else { 6 })
    }

    fn sample(path: &Path) -> Vec<String> {
        let mut users: Vec<String> = (0..USERS).map(|user| id(2 * user + 1)).collect();
        users.sort();
        let mut writer = UsersWriter::create(path, 1_000, 2).unwrap();
        let mut records = Records::new(1_000);
        for (place, id) in users.iter().enumerate() {
            let last = i64::try_from(place).unwrap();
            records.push(id.as_bytes(), &[entry(7, -5, last)]);
            records.expires(1, last);
            if place % 600 == 0 {
                writer.append(&records).unwrap();
                records.clear();
            }
        }
        writer.append(&records).unwrap();
        writer.finish().unwrap().sync().unwrap();
        users
    }

    #[test]
    fn users_are_found_by_id_and_expiry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000.users");
        let users = sample(&path);
        let file = UsersFile::open(&path).unwrap();
        let mut random = fastrand::Rng::with_seed(4);
        for many in [0, 1, 3, 300, 9_000] {
            let mut wanted: Vec<String> = (0..many).map(|_| id(random.usize(0..2 * USERS + 2))).collect();
            wanted.sort();
            wanted.dedup();
            let ids: Vec<&[u8]> = wanted.iter().map(|id| id.as_bytes()).collect();
            let mut found = Vec::new();
            file.look_up(&ids, |at, entries| found.push((at, entries.to_vec()))).unwrap();
            let place = |id| users.binary_search(id).ok();
            let expected = wanted.iter().enumerate().filter_map(|(at, id)| Some((at, place(id)?)));
            let expected = expected.map(|(at, place)| (at, vec![entry(7, -5, i64::try_from(place).unwrap())]));
            assert_eq!(found, expected.collect::<Vec<_>>());
        }
        let mut ending = file.ending_in(1, 9, 400).unwrap();
        ending.sort();
        assert_eq!(ending, users[10..=400].iter().map(|id| id.as_bytes().to_vec()).collect::<Vec<_>>());
        assert!(file.ending_in(0, i64::MIN, i64::MAX).unwrap().is_empty());
        assert!(file.may_end_in(4998, 6000) && !file.may_end_in(4999, 6000) && !file.may_end_in(-9, -1));
        let mut all = Vec::new();
        file.scan(|id, _| all.push(String::from_utf8(id.to_vec()).unwrap())).unwrap();
        assert_eq!(all, users);
    }

    #[test]
    fn damage_is_told_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000.users");
        sample(&path);
        let whole = std::fs::read(&path).unwrap();
        for kept in [0, 10, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..kept]).unwrap();
            assert!(matches!(UsersFile::open(&path), Err(AirError::DamagedUdb { .. })), "{kept} bytes");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(UsersFile::open(&path), Err(AirError::DamagedUdb { .. })));
    }
}
