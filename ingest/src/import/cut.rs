//! Sorting the lines of one input file into chunks, in bounded memory.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use neartime_model::Chunk;

use super::ImportError;
use super::name::ContentId;

/// Collected lines, over all chunks, that are held in memory.
const MAX_HELD_BYTES: usize = 64 << 20;
const MARKING_THREADS: usize = 16;
/// Where the comment stands in the header of the gzip member that begins a file, which has neither name nor extras.
const COMMENT_AT: u64 = 10;

/// The lines of one input file by chunk; those that memory has no room for lie compressed in hidden files.
pub(super) struct Cut {
    staging: PathBuf,
    /// The first line of each file, where the format has one.
    header: Option<Vec<u8>>,
    chunks: HashMap<Chunk, Collected>,
    held_bytes: usize,
    max_held_bytes: usize,
}

#[derive(Default)]
struct Collected {
    held: Vec<u8>,
    lines: u64,
    /// Its file has been begun.
    begun: bool,
}

/// The complete gz file of one chunk.
pub(super) struct Staged {
    pub(super) chunk: Chunk,
    pub(super) path: PathBuf,
    pub(super) lines: u64,
}

impl Cut {
    /// Collects for files in the directory `staging`.
    pub(super) fn new(staging: &Path) -> Self {
        Self::with_room(staging, MAX_HELD_BYTES)
    }

    pub(super) fn with_room(staging: &Path, max_held_bytes: usize) -> Self {
        let staging = staging.to_owned();
        Self { staging, header: None, chunks: HashMap::new(), held_bytes: 0, max_held_bytes }
    }

    /// Puts `line` before the lines of every chunk; called before any of them.
    pub(super) fn set_header(&mut self, line: &[u8]) {
        self.header = Some(with_newline(line));
    }

    pub(super) fn add(&mut self, chunk: Chunk, line: &[u8]) -> Result<(), ImportError> {
        let collected = self.chunks.entry(chunk).or_default();
        collected.held.extend_from_slice(line);
        collected.held.push(b'\n');
        collected.lines += 1;
        self.held_bytes += line.len() + 1;
        if self.held_bytes > self.max_held_bytes { self.make_room() } else { Ok(()) }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Compresses what is left and marks every file with the content that it comes from.
    pub(super) fn finish(mut self, content: ContentId) -> Result<Vec<Staged>, ImportError> {
        let mut chunks: Vec<Chunk> = self.chunks.keys().copied().collect();
        chunks.sort_unstable();
        let mut files = Vec::new();
        for chunk in chunks {
            self.flush(chunk)?;
            files.push(Staged { chunk, path: self.path(chunk), lines: self.chunks[&chunk].lines });
        }
        mark_all(&files, content)?;
        Ok(files)
    }

    /// Compresses the fullest chunks until half of the room is free.
    fn make_room(&mut self) -> Result<(), ImportError> {
        let mut chunks: Vec<(usize, Chunk)> =
            self.chunks.iter().map(|(chunk, collected)| (collected.held.len(), *chunk)).collect();
        chunks.sort_unstable();
        while self.held_bytes > self.max_held_bytes / 2
            && let Some((_, fullest)) = chunks.pop()
        {
            self.flush(fullest)?;
        }
        Ok(())
    }

    /// Appends the held lines of a chunk to its file, as a gzip member.
    fn flush(&mut self, chunk: Chunk) -> Result<(), ImportError> {
        let path = self.path(chunk);
        let collected = self.chunks.get_mut(&chunk).expect("a chunk that has lines");
        let held = std::mem::take(&mut collected.held);
        self.held_bytes -= held.len();
        if held.is_empty() {
            return Ok(());
        }
        let header = if collected.begun { None } else { self.header.as_deref() };
        append(&path, collected.begun, header.unwrap_or_default(), &held)
            .map_err(ImportError::local("write", &path))?;
        collected.begun = true;
        Ok(())
    }

    fn path(&self, chunk: Chunk) -> PathBuf {
        self.staging.join(format!("{}.gz", chunk.start().as_secs()))
    }
}

fn with_newline(line: &[u8]) -> Vec<u8> {
    [line, b"\n"].concat()
}

/// Writes a member; the first of a file has room for the mark in its header.
fn append(path: &Path, begun: bool, header: &[u8], lines: &[u8]) -> std::io::Result<()> {
    // What a broken input has left there is cut away.
    let file = if begun { OpenOptions::new().append(true).open(path)? } else { File::create(path)? };
    let mut member = GzBuilder::new();
    if !begun {
        member = member.comment(ContentId::default().to_string());
    }
    let mut member = member.write(file, Compression::default());
    member.write_all(header)?;
    member.write_all(lines)?;
    member.finish().map(drop)
}

/// Marks files with several threads: each waits for the disk, which serves those who wait together.
fn mark_all(files: &[Staged], content: ContentId) -> Result<(), ImportError> {
    std::thread::scope(|scope| {
        let parts = files.chunks(files.len().div_ceil(MARKING_THREADS).max(1));
        let threads: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || {
                    part.iter().try_for_each(|file| {
                        mark(&file.path, content).map_err(ImportError::local("finish", &file.path))
                    })
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("marking does not panic"))
    })
}

/// Writes the mark over its place in the header, which no checksum covers.
fn mark(path: &Path, content: ContentId) -> std::io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.seek(SeekFrom::Start(COMMENT_AT))?;
    file.write_all(content.to_string().as_bytes())?;
    file.sync_all()
}
