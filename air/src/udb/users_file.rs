//! A file of users, sorted by id, in which some users are found without reading the others.
//!
//! ```text
//! records  one a user, see `record`
//! expiry   whose runs end when, see `expiry`
//! index    every two kilobytes or so: a user's id (length, bytes), how far its record is from the last one named, check
//!          u32 of the records from there to the next one named
//! heads    of the blocks of the expiry list
//! footer   entries of each class u64, magic, base_ms, first_last_ms, last_last_ms, users, lengths of records and index,
//!          classes, check u64 of index and heads, check u64 of the footer
//! ```
//!
//! A snapshot has several such files, and a copy of a recent chunk is one. Numbers of the index are varints, all others
//! little-endian. Whatever is read is checked before it is believed: the footer, the index with the heads, and of the
//! rest each piece that is read as a whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use datafusion::arrow::buffer::Buffer;

use super::expiry::{self, Expiry, ExpiryIndex};
use super::hash::stable_hash;
use super::record::{Entry, Garbled, read_entries, read_id, read_record, skip_entries};
use super::users_index::UsersIndex;
use crate::error::AirError;
use crate::merge::{Block, User};

pub(super) const MAGIC: [u8; 8] = *b"NTUSERS4";
/// Magic, base, two bounds, users, two lengths, number of classes, two checks.
const TAIL: usize = 10 * 8;

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
    index_check: u64,
    /// Entries of each class.
    expiry: Vec<usize>,
    /// Read when it is asked for.
    index: OnceLock<Index>,
}

/// What is where.
#[derive(Debug)]
struct Index {
    users: UsersIndex,
    expiry: ExpiryIndex,
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
        let [base_ms, low, high] = [1, 2, 3].map(|at| int_at(&tail, at));
        let [users, records_len, index_len, classes, index_check, check] =
            [4, 5, 6, 7, 8, 9].map(|at| int_at(&tail, at) as u64);
        if classes > 256 {
            return Err(damaged("its footer makes no sense"));
        }
        let footer_at = tail_at.checked_sub(classes * 8).ok_or_else(too_short)?;
        let footer = read(&file, path, footer_at, classes as usize * 8 + TAIL - 8)?;
        if stable_hash(&footer) != check {
            return Err(damaged("its footer is not what was written"));
        }
        let expiry: Vec<usize> = (0..classes as usize).map(|class| int_at(&footer, class) as usize).collect();
        let whole = records_len + index_len + (expiry::list_bytes(&expiry) + expiry::head_bytes(&expiry)) as u64;
        if whole != footer_at {
            return Err(damaged("its parts do not add up"));
        }
        let (users, index_len) = (users as usize, index_len as usize);
        let (path, bounds, index) = (path.to_owned(), (low, high), OnceLock::new());
        Ok(Self { file, path, base_ms, bounds, users, records_len, index_len, index_check, expiry, index })
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
        let first = self.index()?.users.first_id().map(<[u8]>::to_vec);
        first.ok_or_else(|| self.damaged("it has no users"))
    }

    /// The steps of the index from one on whose records take so many bytes, but at least one while any are left.
    pub(super) fn steps_from(&self, step: usize, bytes: u64) -> Result<Range<usize>, AirError> {
        Ok(self.index()?.users.steps_from(step, bytes))
    }

    /// Reads all users in order: `each` gets the id, and the entries.
    pub(crate) fn scan(&self, each: impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        let bytes = self.read_all()?;
        self.records(&bytes, each)
    }

    /// Reads the ids of all users in order.
    pub(crate) fn scan_ids(&self, mut each: impl FnMut(&[u8])) -> Result<(), AirError> {
        let bytes = self.read_all()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let id = read_id(&mut rest).and_then(|id| skip_entries(&mut rest).map(|()| id));
            each(id.map_err(|Garbled| self.damaged("a record is garbled"))?);
        }
        Ok(())
    }

    /// Reads the records of some steps of the index.
    pub(super) fn block(&self, steps: Range<usize>) -> Result<Option<Block>, AirError> {
        let mut bytes = Vec::new();
        self.read_steps(steps, &mut bytes)?;
        let bytes = Buffer::from_vec(bytes);
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
        let (mut bytes, mut entries) = (Vec::new(), Vec::new());
        for (steps, wanted_here) in self.index()?.users.spans_of(wanted) {
            self.read_steps(steps, &mut bytes)?;
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
        let mut places = BTreeSet::new();
        for block in self.index()?.expiry.blocks(class, after_ms, until_ms) {
            let bytes =
                self.read(self.records_len + block.range.start, (block.range.end - block.range.start) as usize)?;
            let ends = block.read(&bytes).ok_or_else(|| self.damaged("its expiry list is not what was written"))?;
            let ends = ends.filter(|end| end.last_ms > after_ms && end.last_ms <= until_ms);
            places.extend(ends.map(|end: Expiry| end.place));
        }
        self.ids_at(&places)
    }

    /// The ids of the users whose records begin at these places.
    fn ids_at(&self, places: &BTreeSet<u32>) -> Result<Vec<Vec<u8>>, AirError> {
        let index = &self.index()?.users;
        let garbled = |Garbled| self.damaged("a record is garbled");
        let (mut read, mut bytes, mut ids) = (None, Vec::new(), Vec::with_capacity(places.len()));
        for place in places.iter().copied().map(u64::from) {
            let step = index.step_of(place).map_err(garbled)?;
            if read != Some(step) {
                self.read_steps(step..step + 1, &mut bytes)?;
                read = Some(step);
            }
            let mut record = &bytes[(place - index.places_of(step..step + 1).start) as usize..];
            ids.push(read_id(&mut record).map_err(garbled)?.to_vec());
        }
        Ok(ids)
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

    /// The index, read once.
    fn index(&self) -> Result<&Index, AirError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let at = self.records_len + expiry::list_bytes(&self.expiry) as u64;
        let bytes = self.read(at, self.index_len + expiry::head_bytes(&self.expiry))?;
        if stable_hash(&bytes) != self.index_check {
            return Err(self.damaged("its index is not what was written"));
        }
        let (users, heads) = bytes.split_at(self.index_len);
        let users = UsersIndex::read(users, self.records_len);
        let users = users.map_err(|Garbled| self.damaged("its index is garbled"))?;
        let expiry = ExpiryIndex::read(&self.expiry, heads);
        Ok(self.index.get_or_init(|| Index { users, expiry }))
    }

    /// Reads all records.
    fn read_all(&self) -> Result<Vec<u8>, AirError> {
        let mut bytes = Vec::new();
        self.read_steps(0..self.index()?.users.steps(), &mut bytes).map(|()| bytes)
    }

    /// Replaces `bytes` by the records of some steps of the index.
    fn read_steps(&self, steps: Range<usize>, bytes: &mut Vec<u8>) -> Result<(), AirError> {
        let index = &self.index()?.users;
        let places = index.places_of(steps.clone());
        bytes.resize((places.end - places.start) as usize, 0);
        read_into(&self.file, &self.path, places.start, bytes)?;
        if index.is_whole(steps, bytes) { Ok(()) } else { Err(self.damaged("its records are not what was written")) }
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
        let mut random = fastrand::Rng::with_seed(5);
        let read = || -> Result<_, AirError> {
            let (file, mut all) = (UsersFile::open(&path)?, Vec::new());
            file.scan(|id, entries| all.push((id.to_vec(), entries.to_vec())))?;
            let ids: Vec<&[u8]> = all.iter().step_by(7).map(|(id, _)| id.as_slice()).collect();
            let mut found = Vec::new();
            file.look_up(&ids, |at, entries| found.push((at, entries.to_vec())))?;
            Ok((found, file.ending_in(1, i64::MIN, i64::MAX)?, file.users(), file.first_id()?))
        };
        std::fs::write(&path, &whole).unwrap();
        read().unwrap();
        for _ in 0..500 {
            let mut bytes = whole.clone();
            let at = random.usize(0..bytes.len());
            bytes[at] ^= random.u8(1..);
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(read(), Err(AirError::DamagedUdb { .. })), "byte {at}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(UsersFile::open(&path), Err(AirError::DamagedUdb { .. })));
    }
}
