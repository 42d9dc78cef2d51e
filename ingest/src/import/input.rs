//! One local input file, inflated.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use neartime_model::FileKey;

use super::ImportError;
use super::sort::Stop;
use crate::inflate::{Inflater, MAGIC_BYTES, inflater_for};
use crate::lines::ReadBytes;
use crate::read::ReadError;

const BUFFER_BYTES: usize = 256 << 10;

/// A file (or a pipe: it is read once, from front to end).
pub(super) struct Input<'a> {
    file: File,
    key: FileKey,
    inflater: Box<dyn Inflater>,
    buffer: Vec<u8>,
    /// What is not yet inflated: `buffer[start..end]`.
    start: usize,
    end: usize,
    at_end: bool,
    bytes_read: &'a AtomicU64,
}

impl<'a> Input<'a> {
    pub(super) fn open(path: &Path, bytes_read: &'a AtomicU64) -> Result<Self, Stop> {
        let mut file = File::open(path).map_err(ImportError::local("open", path))?;
        let key = FileKey::new(path.display().to_string());
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut end = 0;
        while end < MAGIC_BYTES {
            match file.read(&mut buffer[end..]).map_err(ImportError::local("read", path))? {
                0 => break,
                read => end += read,
            }
        }
        bytes_read.fetch_add(end as u64, Ordering::Relaxed);
        let inflater = inflater_for(&buffer[..end]).map_err(|error| Stop::Broken(error.to_string()))?;
        Ok(Self { file, key, inflater, buffer, start: 0, end, at_end: false, bytes_read })
    }

    /// Inflates some bytes into `out`; none at the end.
    fn inflate(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        while !self.at_end {
            let progress = self.inflater.inflate(&self.buffer[self.start..self.end], out);
            let progress = progress.map_err(|error| self.broken(error.to_string()))?;
            self.start += progress.consumed;
            if progress.produced > 0 {
                return Ok(progress.produced);
            }
            if progress.consumed == 0 && !self.fill()? {
                self.at_end = true;
                self.inflater.finish().map_err(|error| self.broken(error.to_string()))?;
            }
        }
        Ok(0)
    }

    /// Reads on behind what is not yet inflated; false at the end of the file.
    fn fill(&mut self) -> Result<bool, ReadError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            return Err(self.broken("its inflater stands still".to_owned()));
        }
        let read = loop {
            match self.file.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| self.broken(format!("it cannot be read: {error}")))?,
            }
        };
        self.end += read;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read > 0)
    }

    fn broken(&self, reason: String) -> ReadError {
        ReadError::broken(&self.key, reason)
    }
}

impl ReadBytes for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled = 0;
        while filled < out.len() {
            match self.inflate(&mut out[filled..])? {
                0 => break,
                produced => filled += produced,
            }
        }
        Ok(filled)
    }
}
