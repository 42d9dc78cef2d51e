//! What a report leaves for the next one: its counts, and which files they were counted from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use neartime_model::{ContentOrder, FeatureVersion, Generation, Instant};

use crate::count::Counts;
use crate::durable::write_durably;
use crate::error::AirError;
use crate::input::{FileId, Known};
use crate::udb::{Garbled, read_number, stable_hash, write_number};

const MAGIC: &[u8] = b"NTAIR004";

/// Magic, and the instant of the report, which is read alone where that is enough.
const HEAD: usize = 16;

/// A file after the snapshot, and the copy of its intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) known: Known,
    /// Name of the copy.
    pub(crate) copy: String,
}

/// The last report's counts.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) as_of: Instant,
    /// Changes when the counts of the same users would be others: groups, order rule.
    pub(crate) rules: u64,
    /// Name of the snapshot; empty if there was none.
    pub(crate) base: String,
    /// How many names of each kind the dictionary had.
    pub(crate) names: [usize; 3],
    /// The files after the snapshot, by path.
    pub(crate) recent: BTreeMap<String, Recent>,
    pub(crate) counts: Counts,
}

impl State {
    /// Reads the state at `path`; `None` if there is none, or none that can be believed.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, AirError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self::decode(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AirError::file("read", path)(error)),
        }
    }

    /// The instant of the report that left the state at `path`; `None` if there is none that can be believed.
    pub(crate) fn read_as_of(path: &Path) -> Result<Option<Instant>, AirError> {
        let mut head = [0; HEAD + 8];
        match File::open(path).and_then(|mut file| file.read_exact(&mut head)) {
            Ok(()) => Ok(Self::decode_head(&mut head.as_slice()).ok()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => Ok(None),
            Err(error) => Err(AirError::file("read", path)(error)),
        }
    }

    /// Replaces the state at `path`.
    pub(crate) fn write(&self, path: &Path) -> Result<(), AirError> {
        write_durably(path, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.as_of.as_micros().to_le_bytes());
        out.extend(stable_hash(&out).to_le_bytes());
        write_number(&mut out, self.rules);
        write_text(&mut out, &self.base);
        self.names.iter().for_each(|&size| write_number(&mut out, size as u64));
        write_number(&mut out, self.recent.len() as u64);
        for (path, Recent { known: Known { id, order, content }, copy }) in &self.recent {
            write_text(&mut out, path);
            write_text(&mut out, copy);
            write_number(&mut out, id.size_bytes);
            write_signed(&mut out, id.modified_ns.div_euclid(1_000_000_000) as i64);
            write_number(&mut out, id.modified_ns.rem_euclid(1_000_000_000) as u64);
            write_number(&mut out, id.tag);
            write_number(&mut out, u64::from(order.version.0));
            write_signed(&mut out, order.generation.0);
            write_number(&mut out, *content);
        }
        self.counts.write(&mut out);
        out.extend(stable_hash(&out).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Garbled> {
        let (body, check) = bytes.split_last_chunk::<8>().ok_or(Garbled)?;
        if u64::from_le_bytes(*check) != stable_hash(body) {
            return Err(Garbled);
        }
        let mut rest = body;
        let rest = &mut rest;
        let as_of = Self::decode_head(rest)?;
        let rules = read_number(rest)?;
        let base = read_text(rest)?;
        let names = [read_number(rest)?, read_number(rest)?, read_number(rest)?].map(|size| size as usize);
        let mut recent = BTreeMap::new();
        for _ in 0..read_number(rest)? {
            let (path, copy) = (read_text(rest)?, read_text(rest)?);
            let size_bytes = read_number(rest)?;
            let modified_ns = i128::from(read_signed(rest)?) * 1_000_000_000 + i128::from(read_number(rest)?);
            let id = FileId { size_bytes, modified_ns, tag: read_number(rest)? };
            let version = FeatureVersion(read_small(rest)?);
            let order = ContentOrder { version, generation: Generation(read_signed(rest)?) };
            let known = Known { id, order, content: read_number(rest)? };
            recent.insert(path, Recent { known, copy });
        }
        let counts = Counts::read(rest)?;
        Ok(Self { as_of, rules, base, names, recent, counts })
    }

    /// Takes the head from the front of `bytes`.
    fn decode_head(bytes: &mut &[u8]) -> Result<Instant, Garbled> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(Garbled)?;
        let (check, rest) = rest.split_first_chunk().ok_or(Garbled)?;
        let as_of = head.strip_prefix(MAGIC).and_then(|as_of| as_of.try_into().ok()).ok_or(Garbled)?;
        if u64::from_le_bytes(*check) != stable_hash(head) {
            return Err(Garbled);
        }
        *bytes = rest;
        Ok(Instant::from_micros(i64::from_le_bytes(as_of)))
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn read_text(rest: &mut &[u8]) -> Result<String, Garbled> {
    let length = usize::try_from(read_number(rest)?).map_err(|_| Garbled)?;
    let (text, after) = rest.split_at_checked(length).ok_or(Garbled)?;
    *rest = after;
    String::from_utf8(text.to_vec()).map_err(|_| Garbled)
}

fn write_signed(out: &mut Vec<u8>, number: i64) {
    write_number(out, number as u64);
}

fn read_signed(rest: &mut &[u8]) -> Result<i64, Garbled> {
    read_number(rest).map(|number| number as i64)
}

fn read_small(rest: &mut &[u8]) -> Result<u32, Garbled> {
    u32::try_from(read_number(rest)?).map_err(|_| Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Measure;

    #[test]
    fn a_state_reads_back_and_a_damaged_one_is_no_state() {
        let mut counts = Counts::new(5, 4, 2);
        for (measure, row, column, users) in [
            (Measure::SegmentUsers, 0, 0, 7),
            (Measure::SegmentUsers, 4, 0, 1),
            (Measure::GroupUsers, 1, 0, 7),
            (Measure::SegmentSite, 0, 0, 1),
            (Measure::SegmentSite, 0, 3, 300),
            (Measure::SegmentSite, 3, 4, 2),
            (Measure::GroupSite, 3, 1, 9),
        ] {
            counts.add(measure, row, column, users);
        }
        let known = Known {
            id: FileId { size_bytes: 5, modified_ns: -1, tag: 77 },
            order: ContentOrder { version: FeatureVersion(1), generation: Generation(2) },
            content: u64::MAX,
        };
        let state = State {
            as_of: Instant::from_micros(-5),
            rules: u64::MAX,
            base: "2018-08-01-9".to_owned(),
            names: [5, 4, 3],
            recent: [("a/x.parquet".to_owned(), Recent { known, copy: "9-0".to_owned() })].into(),
            counts,
        };
        let mut bytes = state.encode();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert_eq!(State::read_as_of(&path).unwrap(), None);
        state.write(&path).unwrap();
        assert_eq!(State::read_as_of(&path).unwrap(), Some(state.as_of));
        let found = State::decode(&bytes).unwrap();
        let numbers = |counts: &Counts| {
            let mut all = Vec::new();
            counts.each(|measure, row, column, users| all.push((measure as u8, row, column, users)));
            (counts.sizes(), all)
        };
        assert_eq!(numbers(&found.counts), numbers(&state.counts));
        assert_eq!((found.as_of, found.rules, found.base), (state.as_of, state.rules, state.base));
        assert_eq!(found.names, state.names);
        assert_eq!(found.recent, state.recent);
        for at in [9, 20, 30, bytes.len() - 9] {
            bytes[at] ^= 1;
            assert!(State::decode(&bytes).is_err(), "byte {at}");
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(State::read_as_of(&path).unwrap().is_some(), at >= 24);
            bytes[at] ^= 1;
        }
    }
}
