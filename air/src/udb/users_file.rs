//! A file of users, sorted by (hash, id), in which one user is found without reading the others.
//!
//! ```text
//! records                    one a user, see `record`
//! hashes   users × u64       of the ids, in the order of the records
//! offsets  (users + 1) × u32 where each record begins; the last is where they end
//! expiry   for each class: entries × (last_ms i64, user u32), sorted: whose runs end when
//! footer   magic, base_ms, first_last_ms, last_last_ms, users, entries of each class, lengths
//! ```
//!
//! A snapshot's bucket is such a file, and so is the copy of a recent chunk. All numbers are little-endian.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::{Entry, Garbled, read_record, write_record};
use crate::durable::Unsynced;
use crate::error::AirError;

const MAGIC: [u8; 8] = *b"NTUSERS2";
const HASH: usize = 8;
const OFFSET: usize = 4;
const EXPIRY: usize = 12;
/// A user looked up by guessing costs about as much as reading the hashes of so many.
const USERS_A_GUESS: usize = 256;
/// Magic, base, two bounds, users, number of classes.
const TAIL: usize = 8 * 6;

/// Writes users in order of (hash, id).
pub(crate) struct UsersWriter {
    file: BufWriter<File>,
    path: PathBuf,
    base_ms: i64,
    hashes: Vec<u64>,
    offsets: Vec<u32>,
    expiry: Vec<Vec<(i64, u32)>>,
    bounds: Option<(i64, i64)>,
    record: Vec<u8>,
    written: u64,
}

impl UsersWriter {
    /// Begins a file at `path` for entries of `classes` classes; times near `base_ms` take the least room.
    pub(crate) fn create(path: &Path, base_ms: i64, classes: usize) -> Result<Self, AirError> {
        let file = File::create(path).map_err(AirError::file("create", path))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            path: path.to_owned(),
            base_ms,
            hashes: Vec::new(),
            offsets: vec![0],
            expiry: vec![Vec::new(); classes],
            bounds: None,
            record: Vec::new(),
            written: 0,
        })
    }

    /// Appends a user, whose (hash, id) is greater than that of the last one.
    pub(crate) fn push(&mut self, hash: u64, id: &[u8], entries: &[Entry]) -> Result<(), AirError> {
        self.record.clear();
        write_record(&mut self.record, id, entries, self.base_ms);
        self.file.write_all(&self.record).map_err(AirError::file("write", &self.path))?;
        self.written += self.record.len() as u64;
        let offset = u32::try_from(self.written)
            .map_err(|_| std::io::Error::other("more than 4 GB of users in one bucket"))
            .map_err(AirError::file("write", &self.path))?;
        self.hashes.push(hash);
        self.offsets.push(offset);
        for entry in entries {
            let last = entry.run.last_ms;
            let (low, high) = self.bounds.unwrap_or((last, last));
            self.bounds = Some((low.min(last), high.max(last)));
        }
        Ok(())
    }

    /// Notes that the user pushed last has a last run of `class` that ends at `last_ms`.
    pub(crate) fn expires(&mut self, class: u8, last_ms: i64) {
        let user = u32::try_from(self.hashes.len() - 1).expect("offsets would not have fitted before");
        self.expiry[usize::from(class)].push((last_ms, user));
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<Unsynced, AirError> {
        let mut tail = Vec::with_capacity(self.hashes.len() * (HASH + OFFSET) + TAIL);
        self.hashes.iter().for_each(|hash| tail.extend(hash.to_le_bytes()));
        self.offsets.iter().for_each(|offset| tail.extend(offset.to_le_bytes()));
        for class in &mut self.expiry {
            class.sort_unstable();
            for (last_ms, user) in &*class {
                tail.extend(last_ms.to_le_bytes());
                tail.extend(user.to_le_bytes());
            }
        }
        for class in &self.expiry {
            tail.extend((class.len() as u64).to_le_bytes());
        }
        let (low, high) = self.bounds.unwrap_or((i64::MAX, i64::MIN));
        tail.extend(MAGIC);
        for number in [self.base_ms, low, high] {
            tail.extend(number.to_le_bytes());
        }
        for count in [self.hashes.len(), self.expiry.len()] {
            tail.extend((count as u64).to_le_bytes());
        }
        let write =
            self.file.write_all(&tail).and_then(|()| self.file.into_inner().map_err(|error| error.into_error()));
        let file = write.map_err(AirError::file("write", &self.path))?;
        Ok(Unsynced { file, path: self.path })
    }
}

/// Reads a file of users, as little of it as it can.
#[derive(Debug)]
pub(crate) struct UsersFile {
    file: File,
    path: PathBuf,
    base_ms: i64,
    /// The earliest and the latest end of any run; the first is greater than the second if there is none.
    bounds: (i64, i64),
    users: usize,
    /// Entries of each class.
    expiry: Vec<usize>,
    records_len: u64,
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
        let [base_ms, low, high, users, classes] = [1, 2, 3, 4, 5].map(|at| int_at(&tail, at));
        let (users, classes) = (users as u64, classes as u64);
        if users > length || classes > 256 {
            return Err(damaged("its footer makes no sense"));
        }
        let counts_at = tail_at.checked_sub(classes * 8).ok_or_else(too_short)?;
        let counts = read(&file, path, counts_at, classes as usize * 8)?;
        let expiry: Vec<usize> = (0..classes as usize).map(|class| int_at(&counts, class) as usize).collect();
        let entries = expiry.iter().try_fold(0_usize, |sum, &count| sum.checked_add(count)).ok_or_else(too_short)?;
        let index_len = users * (HASH + OFFSET) as u64 + OFFSET as u64 + (entries as u64).saturating_mul(EXPIRY as u64);
        let records_len = counts_at.checked_sub(index_len).ok_or_else(too_short)?;
        let users = users as usize;
        Ok(Self { file, path: path.to_owned(), base_ms, bounds: (low, high), users, expiry, records_len })
    }

    /// How many users there are.
    pub(crate) fn users(&self) -> usize {
        self.users
    }

    /// Whether some run ends in `(after_ms, until_ms]`, as far as the bounds tell.
    pub(crate) fn may_end_in(&self, after_ms: i64, until_ms: i64) -> bool {
        self.bounds.0 <= until_ms && self.bounds.1 > after_ms
    }

    /// Reads all users in order: `each` gets the id, and the entries appended to an emptied list.
    pub(crate) fn scan(&self, mut each: impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        let bytes = self.read(0, self.records_len as usize)?;
        self.records(&bytes, &mut each)
    }

    /// The same for the users whose hash is in the range.
    pub(crate) fn scan_hashes(
        &self,
        hashes: &RangeInclusive<u64>,
        mut each: impl FnMut(&[u8], &[Entry]),
    ) -> Result<(), AirError> {
        let all = self.hashes()?;
        let from = all.partition_point(|hash| hash < hashes.start());
        let to = all.partition_point(|hash| hash <= hashes.end());
        if from == to {
            return Ok(());
        }
        let (begin, end) = (self.offset(from)?, self.offset(to)?);
        let bytes = self.read(begin, end.saturating_sub(begin) as usize)?;
        self.records(&bytes, &mut each)
    }

    /// All hashes, in order.
    pub(crate) fn hashes(&self) -> Result<Vec<u64>, AirError> {
        self.hashes_at(0, self.users)
    }

    /// The places where one of the `wanted` hashes stands, both in rising order, as (index in `wanted`, place). The
    /// file's hashes are spread evenly over `range`.
    pub(crate) fn find(&self, wanted: &[u64], range: &RangeInclusive<u64>) -> Result<Vec<(usize, usize)>, AirError> {
        if wanted.len() * USERS_A_GUESS > self.users {
            return Ok(matches(wanted, 0, &self.hashes()?));
        }
        let mut found = Vec::new();
        let reach = 4 * (self.users as f64).sqrt() as usize + 8;
        for (index, &hash) in wanted.iter().enumerate() {
            let width = (range.end() - range.start()) as f64 + 1.0;
            let guess = (hash.saturating_sub(*range.start()) as f64 / width * self.users as f64) as usize;
            let (from, to) = (guess.saturating_sub(reach), (guess + reach).min(self.users));
            let near = self.hashes_at(from, to)?;
            // The guess is good if both ends of what was read lie beyond the hash, or are the file's own.
            let covered = (from == 0 || near.first().is_some_and(|first| *first < hash))
                && (to == self.users || near.last().is_some_and(|last| *last > hash));
            if !covered {
                return Ok(matches(wanted, 0, &self.hashes()?));
            }
            let at = matches(&[hash], from, &near);
            found.extend(at.into_iter().map(|(_, place)| (index, place)));
        }
        Ok(found)
    }

    fn hashes_at(&self, from: usize, to: usize) -> Result<Vec<u64>, AirError> {
        let bytes = self.read(self.records_len + (from * HASH) as u64, (to - from) * HASH)?;
        Ok(bytes.chunks_exact(HASH).map(|hash| u64::from_le_bytes(hash.try_into().expect("eight bytes"))).collect())
    }

    /// Reads the user at a place: `each` gets the id and the entries.
    pub(crate) fn user_at(&self, place: usize, each: impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        let bytes = self.read(self.offsets_at() + (place * OFFSET) as u64, 2 * OFFSET)?;
        let [begin, end] = [0, OFFSET].map(|at| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")));
        let record = self.read(u64::from(begin), end.saturating_sub(begin) as usize)?;
        let mut each = each;
        self.records(&record, &mut each)
    }

    /// The places of the users who have a last run of `class` that ends in `(after_ms, until_ms]`, some repeated.
    pub(crate) fn ending_in(&self, class: u8, after_ms: i64, until_ms: i64) -> Result<Vec<u32>, AirError> {
        let before: usize = self.expiry[..usize::from(class)].iter().sum();
        let begin = self.offsets_at() + ((self.users + 1) * OFFSET + before * EXPIRY) as u64;
        let from = self.first_ending_after(begin, self.expiry[usize::from(class)], after_ms)?;
        let to = self.first_ending_after(begin, self.expiry[usize::from(class)], until_ms)?;
        let bytes = self.read(begin + (from * EXPIRY) as u64, to.saturating_sub(from) * EXPIRY)?;
        let places = bytes.chunks_exact(EXPIRY);
        Ok(places.map(|entry| u32::from_le_bytes(entry[8..].try_into().expect("four bytes"))).collect())
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

    fn offsets_at(&self) -> u64 {
        self.records_len + (self.users * HASH) as u64
    }

    fn offset(&self, place: usize) -> Result<u64, AirError> {
        let bytes = self.read(self.offsets_at() + (place * OFFSET) as u64, OFFSET)?;
        Ok(u64::from(u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"))))
    }

    fn records(&self, mut bytes: &[u8], each: &mut impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            entries.clear();
            let id = read_record(&mut bytes, self.base_ms, &mut entries)
                .map_err(|Garbled| AirError::DamagedUdb { path: self.path.clone(), reason: "a record is garbled" })?;
            each(id, &entries);
        }
        Ok(())
    }

    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, AirError> {
        read(&self.file, &self.path, at, length)
    }
}

fn read(file: &File, path: &Path, at: u64, length: usize) -> Result<Vec<u8>, AirError> {
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(AirError::DamagedUdb { path: path.to_owned(), reason: "it ends too early" })
        }
        Err(error) => Err(AirError::file("read", path)(error)),
    }
}

/// Where `wanted` stands in `hashes`, both rising; `first` is the place of the first hash.
fn matches(wanted: &[u64], first: usize, hashes: &[u64]) -> Vec<(usize, usize)> {
    let (mut found, mut place) = (Vec::new(), 0);
    for (index, hash) in wanted.iter().enumerate() {
        // Steps that double: cheap whether the next one is near or far.
        let mut step = 1;
        while hashes.get(place + step).is_some_and(|next| next < hash) {
            place += step;
            step *= 2;
        }
        let to = (place + step + 1).min(hashes.len());
        place += hashes[place..to].partition_point(|next| next < hash);
        let equal = hashes[place..].iter().take_while(|next| *next == hash).count();
        found.extend((place..place + equal).map(|place| (index, first + place)));
    }
    found
}

/// The `at`-th number of eight bytes.
fn int_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::hash::stable_hash;
    use super::*;
    use crate::runs::Run;

    const USERS: u64 = 5_000;

    fn entry(item: u32, first_ms: i64, last_ms: i64) -> Entry {
        Entry { origin: 0, item, run: Run { first_ms, last_ms } }
    }

    fn sample(path: &Path) -> Vec<(u64, String)> {
        let mut users: Vec<(u64, String)> =
            (0..USERS).map(|n| format!("user-{n}")).map(|id| (stable_hash(id.as_bytes()), id)).collect();
        users.sort();
        let mut writer = UsersWriter::create(path, 1_000, 2).unwrap();
        for (place, (hash, id)) in users.iter().enumerate() {
            let last = i64::try_from(place).unwrap();
            writer.push(*hash, id.as_bytes(), &[entry(7, -5, last)]).unwrap();
            writer.expires(1, last);
        }
        writer.finish().unwrap().sync().unwrap();
        users
    }

    #[test]
    fn users_are_found_by_place_hash_and_expiry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000.users");
        let users = sample(&path);
        let file = UsersFile::open(&path).unwrap();
        assert_eq!(file.hashes().unwrap(), users.iter().map(|(hash, _)| *hash).collect::<Vec<_>>());
        for wanted in [vec![3, 4, 400], (0..5_000).collect::<Vec<usize>>()] {
            let hashes: Vec<u64> = wanted.iter().flat_map(|&at| [users[at].0 - 1, users[at].0]).collect();
            let found: Vec<usize> = file.find(&hashes, &(0..=u64::MAX)).unwrap().iter().map(|(_, at)| *at).collect();
            assert_eq!(found, wanted);
        }
        assert_eq!(file.find(&[0, users[0].0, u64::MAX], &(0..=u64::MAX)).unwrap(), [(1, 0)]);
        file.user_at(42, |id, entries| {
            assert_eq!(id, users[42].1.as_bytes());
            assert_eq!(entries, [entry(7, -5, 42)]);
        })
        .unwrap();
        assert_eq!(file.ending_in(1, 9, 12).unwrap(), [10, 11, 12]);
        assert!(file.ending_in(0, i64::MIN, i64::MAX).unwrap().is_empty());
        assert!(file.may_end_in(4998, 6000) && !file.may_end_in(4999, 6000) && !file.may_end_in(-9, -1));
        let mut found = Vec::new();
        file.scan_hashes(&(users[10].0..=users[12].0), |id, _| found.push(id.to_vec())).unwrap();
        assert_eq!(found, [10, 11, 12].map(|at: usize| users[at].1.clone().into_bytes()));
        let mut all = 0;
        file.scan(|_, _| all += 1).unwrap();
        assert_eq!(all, USERS);
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
