//! Cutting the records of a shard into files.

use std::io::Write;
use std::time::{Duration, Instant as Monotonic};

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use neartime_model::{Chunk, FileKey, FilePath, Instant};

use super::names::Reservoir;
use crate::channel::{Place, Record, ShardId};
use crate::layout::FormatError;
use crate::source::{Due, Source};

const MIN_AGE: Duration = Duration::from_secs(1);
const MAX_AGE: Duration = Duration::from_secs(60);
const LANDING_AGE: Duration = Duration::from_secs(10);

/// How much a file holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutLimits {
    /// Stored bytes: the record that passes them is the file's last. This is what a shard costs in memory.
    pub bytes: usize,
    /// How long records wait for others.
    pub age: Duration,
}

impl CutLimits {
    /// 16 MiB as stored. Records wait for a third of the source's delay at most, so that those of a chunk's last
    /// seconds are registered before it is due and do not make it due again; where it is due at its first file, for ten
    /// seconds.
    pub fn of(source: &Source) -> Self {
        let age = match source.due {
            Due::End => (source.delay.to_std() / 3).clamp(MIN_AGE, MAX_AGE),
            Due::Landing => LANDING_AGE,
        };
        Self { bytes: 16 << 20, age }
    }
}

/// Collects the records of one shard, in their order.
#[derive(Debug)]
pub struct Cutter {
    reservoir: Reservoir,
    shard: ShardId,
    limits: CutLimits,
    open: Option<Open>,
}

/// A file under way.
#[derive(Debug)]
struct Open {
    packed: GzEncoder<Vec<u8>>,
    chunk: Chunk,
    told_time: Instant,
    first: Place,
    last: Place,
    records: u64,
    due: Monotonic,
}

/// A complete file that is nowhere yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// Its key below the source's location.
    pub key: FileKey,
    /// Its path.
    pub path: FilePath,
    /// Its chunk: that of its records' arrival.
    pub chunk: Chunk,
    /// Its gzip bytes.
    pub bytes: Bytes,
    /// How many records it holds.
    pub records: u64,
    /// The last of them: where the checkpoint may go once the file is registered.
    pub last: Place,
}

impl Cutter {
    /// For a shard of the stream that fills `reservoir`.
    pub fn new(reservoir: Reservoir, shard: ShardId, limits: CutLimits) -> Self {
        Self { reservoir, shard, limits, open: None }
    }

    /// Takes the next record of the shard; gives the files that are complete by that, none to two, in order.
    ///
    /// Which chunk a record belongs to is told by its arrival. What it holds becomes a line, or several; an empty
    /// record becomes none.
    pub fn add(&mut self, record: &Record, now: Monotonic) -> Result<Vec<RawFile>, FormatError> {
        if record.data.is_empty() {
            return Ok(Vec::new());
        }
        let told_time = self.reservoir.told_time(record.arrived_at);
        let chunk = self.reservoir.source().width.chunk_of(told_time);
        let mut complete = Vec::new();
        if self.open.as_ref().is_some_and(|open| open.chunk != chunk) {
            complete.extend(self.flush()?);
        }
        let limits = self.limits;
        let open = self.open.get_or_insert_with(|| Open::begin(chunk, told_time, record, now + limits.age));
        open.push(record);
        if open.packed.get_ref().len() >= limits.bytes {
            complete.extend(self.flush()?);
        }
        Ok(complete)
    }

    /// Completes the file under way, whatever its size; `None` if there is none.
    pub fn flush(&mut self) -> Result<Option<RawFile>, FormatError> {
        let Some(open) = self.open.take() else { return Ok(None) };
        let source = self.reservoir.source();
        let key = self.reservoir.key(&self.shard, open.told_time, &open.first, &open.last)?;
        Ok(Some(RawFile {
            key: FileKey::new(key),
            path: source.location.file_path(&source.layout.path_part::<&str>(&[])),
            chunk: open.chunk,
            bytes: open.packed.finish().expect("writing to memory cannot fail").into(),
            records: open.records,
            last: open.last,
        }))
    }

    /// When the file under way is to be completed for its age; `None` where there is none.
    pub fn due(&self) -> Option<Monotonic> {
        self.open.as_ref().map(|open| open.due)
    }
}

impl Open {
    fn begin(chunk: Chunk, told_time: Instant, record: &Record, due: Monotonic) -> Self {
        // Without a time of its own in the header the same records make the same bytes.
        let packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        let (first, last) = (record.place.clone(), record.place.clone());
        Self { packed, chunk, told_time, first, last, records: 0, due }
    }

    fn push(&mut self, record: &Record) {
        let newline: &[u8] = if record.data.ends_with(b"\n") { b"" } else { b"\n" };
        for bytes in [&record.data[..], newline] {
            self.packed.write_all(bytes).expect("writing to memory cannot fail");
        }
        self.last = record.place.clone();
        self.records += 1;
    }
}
