//! Writes files of users, in order of their ids, whose pieces may be made on several threads.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::expiry::write_expiry;
use super::hash::{check, stable_hash};
use super::record::{Entry, read_id, write_number, write_record};
use super::users_file::MAGIC;
use crate::durable::Unsynced;
use crate::error::AirError;

/// The index has a place at least every so many bytes of records. Whoever looks up a user reads, and checks, about so
/// much.
const STEP_BYTES: usize = 2 << 10;

/// Records are written as they come; smaller ones together.
const BUFFER_BYTES: usize = 32 << 10;

/// Some users in order of their ids, ready to be written.
#[derive(Debug)]
pub(crate) struct Records {
    base_ms: i64,
    bytes: Vec<u8>,
    users: usize,
    /// Where the records begin that the index names; the first is among them.
    places: Vec<u32>,
    /// The checks of the records from each of those places to the next; the last is made when they are appended.
    checks: Vec<u32>,
    /// Where the last record begins.
    last: u32,
    expiry: Vec<Expiry>,
    /// The earliest and the latest end of any run; the first is greater than the second if there is none.
    bounds: (i64, i64),
}

/// A run that ends: of which class, when, and where its user's record begins.
#[derive(Clone, Copy, Debug)]
struct Expiry {
    class: u8,
    last_ms: i64,
    offset: u32,
}

impl Records {
    /// No users yet; times near `base_ms` take the least room.
    pub(crate) fn new(base_ms: i64) -> Self {
        let bounds = (i64::MAX, i64::MIN);
        let (places, checks) = (Vec::new(), Vec::new());
        Self { base_ms, bytes: Vec::new(), users: 0, places, checks, last: 0, expiry: Vec::new(), bounds }
    }

    /// Forgets the users, keeps the room.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.checks.clear();
        self.expiry.clear();
        (self.users, self.last, self.bounds) = (0, 0, (i64::MAX, i64::MIN));
    }

    /// How many bytes they take.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many there are.
    pub(super) fn users(&self) -> usize {
        self.users
    }

    /// Appends a user, whose id is greater than that of the last one.
    pub(crate) fn push(&mut self, id: &[u8], entries: &[Entry]) {
        self.last = u32::try_from(self.bytes.len()).expect("pieces are small");
        if self.places.last().is_none_or(|place| (self.last - place) as usize >= STEP_BYTES) {
            // These bytes have just been written: they are near the processor.
            self.checks.extend(self.last_check());
            self.places.push(self.last);
        }
        write_record(&mut self.bytes, id, entries, self.base_ms);
        self.users += 1;
        for entry in entries {
            let last_ms = entry.run.last_ms;
            self.bounds = (self.bounds.0.min(last_ms), self.bounds.1.max(last_ms));
        }
    }

    /// The check of what comes after the last place.
    fn last_check(&self) -> Option<u32> {
        self.places.last().map(|&place| check(&self.bytes[place as usize..]))
    }

    /// Notes that the user pushed last has a last run of `class` that ends at `last_ms`.
    pub(crate) fn expires(&mut self, class: u8, last_ms: i64) {
        self.expiry.push(Expiry { class, last_ms, offset: self.last });
    }
}

/// A file in the making.
#[derive(Debug)]
pub(crate) struct UsersWriter {
    file: BufWriter<File>,
    path: PathBuf,
    base_ms: i64,
    written: u64,
    users: usize,
    index: Vec<u8>,
    /// The place that the index named last.
    indexed: u64,
    expiry: Vec<Vec<(i64, u32)>>,
    bounds: (i64, i64),
}

impl UsersWriter {
    /// Begins a file at `path` for entries of `classes` classes.
    pub(crate) fn create(path: &Path, base_ms: i64, classes: usize) -> Result<Self, AirError> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let file = file.map_err(AirError::file("create", path))?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            path: path.to_owned(),
            base_ms,
            written: 0,
            users: 0,
            index: Vec::new(),
            indexed: 0,
            expiry: vec![Vec::new(); classes],
            bounds: (i64::MAX, i64::MIN),
        })
    }

    /// How many bytes of records it has.
    pub(crate) fn len(&self) -> u64 {
        self.written
    }

    /// Appends users whose ids are greater than those before.
    pub(crate) fn append(&mut self, records: &Records) -> Result<(), AirError> {
        assert_eq!(self.base_ms, records.base_ms, "one base a file");
        let end = self.written + records.bytes.len() as u64;
        u32::try_from(end)
            .map_err(|_| std::io::Error::other("more than 4 GB of users in one file"))
            .and_then(|_| self.file.write_all(&records.bytes))
            .map_err(AirError::file("write", &self.path))?;
        let checks = records.checks.iter().copied().chain(records.last_check());
        for (&place, check) in records.places.iter().zip(checks) {
            let id = read_id(&mut &records.bytes[place as usize..]).expect("a record was just written there");
            let place = self.written + u64::from(place);
            write_number(&mut self.index, id.len() as u64);
            self.index.extend_from_slice(id);
            write_number(&mut self.index, place - self.indexed);
            self.index.extend(check.to_le_bytes());
            self.indexed = place;
        }
        for expiry in &records.expiry {
            let offset = self.written as u32 + expiry.offset;
            self.expiry[usize::from(expiry.class)].push((expiry.last_ms, offset));
        }
        self.bounds = (self.bounds.0.min(records.bounds.0), self.bounds.1.max(records.bounds.1));
        self.users += records.users;
        self.written = end;
        Ok(())
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> Result<Unsynced, AirError> {
        let (mut tail, mut heads) = (Vec::new(), Vec::new());
        for class in &mut self.expiry {
            class.sort_unstable();
            write_expiry(class, &mut tail, &mut heads);
        }
        let index_at = tail.len();
        tail.append(&mut self.index);
        let index_len = tail.len() - index_at;
        tail.append(&mut heads);
        let index_check = stable_hash(&tail[index_at..]);
        let footer_at = tail.len();
        for class in &self.expiry {
            tail.extend((class.len() as u64).to_le_bytes());
        }
        tail.extend(MAGIC);
        for number in [self.base_ms, self.bounds.0, self.bounds.1] {
            tail.extend(number.to_le_bytes());
        }
        let counts = [self.users as u64, self.written, index_len as u64, self.expiry.len() as u64];
        counts.into_iter().chain([index_check]).for_each(|count| tail.extend(count.to_le_bytes()));
        tail.extend(stable_hash(&tail[footer_at..]).to_le_bytes());
        let write =
            self.file.write_all(&tail).and_then(|()| self.file.into_inner().map_err(|error| error.into_error()));
        let file = write.map_err(AirError::file("write", &self.path))?;
        Ok(Unsynced { file, path: self.path })
    }
}
