//! Users' records sorted roughly, by bucket: what the readers of many files leave for the fold of each bucket.
//!
//! Each reader has its own part, so that readers never wait for each other. A part that outgrows its share of memory
//! goes to an unnamed temporary file, and is read back bucket by bucket.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::AirError;
use crate::udb::{Entry, Garbled, bucket_of, read_record, write_record};

/// Records of one bucket are kept in blocks of about this size: lists that doubled would waste a third.
const BLOCK_BYTES: usize = 32 << 10;

/// What all readers left.
#[derive(Debug)]
pub(crate) struct Spool {
    parts: Vec<SpoolWriter>,
}

/// One reader's part.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    base_ms: i64,
    folder: PathBuf,
    /// Bytes kept in memory before all of it goes to the file.
    budget_bytes: usize,
    kept_bytes: usize,
    buckets: Vec<Vec<Vec<u8>>>,
    spilled: Option<Spilled>,
}

#[derive(Debug)]
struct Spilled {
    file: File,
    /// For each bucket: where its blocks lie, and how long they are.
    blocks: Vec<Vec<(u64, usize)>>,
}

impl SpoolWriter {
    /// An empty part for so many `buckets` (a power of two); temporary files go to `folder`.
    pub(crate) fn new(buckets: usize, base_ms: i64, folder: &Path, budget_bytes: usize) -> Self {
        let buckets = vec![Vec::new(); buckets];
        Self { base_ms, folder: folder.to_owned(), budget_bytes, kept_bytes: 0, buckets, spilled: None }
    }

    /// Adds entries of a user.
    pub(crate) fn push(&mut self, id: &[u8], entries: &[Entry]) -> Result<(), AirError> {
        let at = bucket_of(id, self.buckets.len());
        let blocks = &mut self.buckets[at];
        if blocks.last().is_none_or(|block| block.len() >= BLOCK_BYTES) {
            // The record that fills a block may reach over its end; few are as long as this.
            blocks.push(Vec::with_capacity(BLOCK_BYTES + 1024));
            self.kept_bytes += BLOCK_BYTES;
        }
        let block = self.buckets[at].last_mut().expect("one was made if there was none");
        write_record(block, id, entries, self.base_ms);
        if self.kept_bytes > self.budget_bytes {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), AirError> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            None => {
                let file =
                    unnamed_file(&self.folder).map_err(AirError::file("create a temporary file in", &self.folder))?;
                self.spilled.insert(Spilled { file, blocks: vec![Vec::new(); self.buckets.len()] })
            }
        };
        let mut write = || -> std::io::Result<()> {
            let mut at = spilled.file.stream_position()?;
            for (blocks, places) in self.buckets.iter_mut().zip(&mut spilled.blocks) {
                for block in blocks.drain(..) {
                    spilled.file.write_all(&block)?;
                    places.push((at, block.len()));
                    at += block.len() as u64;
                }
            }
            Ok(())
        };
        write().map_err(AirError::file("write a temporary file in", &self.folder))?;
        self.kept_bytes = 0;
        Ok(())
    }

    fn read(&self, bucket: usize, each: &mut impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        if let Some(spilled) = &self.spilled {
            let mut bytes = Vec::new();
            for &(at, length) in &spilled.blocks[bucket] {
                bytes.resize(length, 0);
                let read = spilled.file.read_exact_at(&mut bytes, at);
                read.map_err(AirError::file("read a temporary file in", &self.folder))?;
                self.records(&bytes, each)?;
            }
        }
        self.buckets[bucket].iter().try_for_each(|block| self.records(block, each))
    }

    fn records(&self, mut bytes: &[u8], each: &mut impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            entries.clear();
            let id = read_record(&mut bytes, self.base_ms, &mut entries).map_err(|Garbled| AirError::DamagedUdb {
                path: self.folder.clone(),
                reason: "a temporary file did not read back as written",
            })?;
            each(id, &entries);
        }
        Ok(())
    }
}

impl Spool {
    /// Takes the parts of all readers.
    pub(crate) fn new(parts: Vec<SpoolWriter>) -> Self {
        Self { parts }
    }

    /// Hands over all records of a bucket; a user may have several.
    pub(crate) fn read(&self, bucket: usize, mut each: impl FnMut(&[u8], &[Entry])) -> Result<(), AirError> {
        self.parts.iter().try_for_each(|part| part.read(bucket, &mut each))
    }
}

/// A file that goes with its last handle.
pub(super) fn unnamed_file(folder: &Path) -> std::io::Result<File> {
    let mut attempt = 0_u32;
    loop {
        let path = folder.join(format!(".spool-{}-{attempt}", std::process::id()));
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => return std::fs::remove_file(&path).map(|()| file),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::runs::Run;

    #[test]
    fn what_is_spilled_and_what_is_kept_come_back_by_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = [5_000_000, 100_000, 0].map(|budget| SpoolWriter::new(4, 9, folder.path(), budget));
        for item in 0..30_000_u32 {
            let id = (item % 700).to_string();
            let entry = Entry { origin: 1, item, run: Run { first_ms: 1, last_ms: 2 } };
            parts[item as usize % 3].push(id.as_bytes(), &[entry]).unwrap();
        }
        assert!(parts[0].spilled.is_none() && parts[1].spilled.is_some() && parts[2].spilled.is_some());
        let spool = Spool::new(parts.into());
        let mut items = BTreeSet::new();
        for bucket in 0..4 {
            spool
                .read(bucket, |id, entries| {
                    assert_eq!(bucket_of(id, 4), bucket);
                    for entry in entries {
                        assert_eq!((entry.item % 700).to_string().as_bytes(), id);
                        assert!(items.insert(entry.item));
                    }
                })
                .unwrap();
        }
        assert_eq!(items.len(), 30_000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
