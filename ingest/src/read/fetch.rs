//! Fetching: the stored bytes of one file, in order, of exactly the version that was asked for.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::{InputFile, ReadError, Reader};

const BUFFER_BYTES: usize = 256 << 10;
/// How often a transfer that breaks is taken up again where it broke.
const MAX_RESUMES: u32 = 4;
const RESUME_DELAY: Duration = Duration::from_millis(200);

/// One file being fetched.
pub(super) struct Fetch<'a> {
    reader: &'a Reader,
    file: &'a InputFile,
    payload: Payload,
    size: u64,
    /// Bytes that came so far.
    received: u64,
    resumes: u32,
}

enum Payload {
    /// A local file, read without a detour.
    File {
        file: File,
        buffer: Vec<u8>,
        start: usize,
        end: usize,
    },
    Stream {
        stream: BoxStream<'static, object_store::Result<Bytes>>,
        piece: Bytes,
    },
}

impl<'a> Fetch<'a> {
    pub(super) fn open(reader: &'a Reader, file: &'a InputFile) -> Result<Self, ReadError> {
        let got = get(reader, file, 0)?;
        let size = got.meta.size;
        let payload = match got.payload {
            GetResultPayload::File(file, _) => Payload::File { file, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 },
            GetResultPayload::Stream(stream) => Payload::Stream { stream, piece: Bytes::new() },
        };
        Ok(Self { reader, file, payload, size, received: 0, resumes: 0 })
    }

    /// Bytes that came so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes of the file are still to be consumed.
    pub(super) fn left(&self) -> u64 {
        let at_hand = match &self.payload {
            Payload::File { start, end, .. } => end - start,
            Payload::Stream { piece, .. } => piece.len(),
        };
        self.size.saturating_sub(self.received) + at_hand as u64
    }

    /// The bytes that are at hand, at least one; none at the end of the file.
    pub(super) fn fill(&mut self) -> Result<&[u8], ReadError> {
        match &mut self.payload {
            Payload::File { file, buffer, start, end } if start == end => {
                let read = read_some(file, buffer).map_err(|error| unavailable_file(self.file, error))?;
                (*start, *end) = (0, read);
                self.received += read as u64;
            }
            Payload::Stream { piece, .. } if piece.is_empty() => self.receive()?,
            _ => {}
        }
        Ok(match &self.payload {
            Payload::File { buffer, start, end, .. } => &buffer[*start..*end],
            Payload::Stream { piece, .. } => piece,
        })
    }

    /// Is done with the first `bytes` of what [`Self::fill`] gave.
    pub(super) fn consume(&mut self, bytes: usize) {
        match &mut self.payload {
            Payload::File { start, .. } => *start += bytes,
            Payload::Stream { piece, .. } => drop(piece.split_to(bytes)),
        }
    }

    /// Makes sure that a local file was not written over while it was read. What comes from a bucket is of one
    /// version by itself.
    pub(super) fn check_unchanged(&self) -> Result<(), ReadError> {
        match self.payload {
            Payload::File { .. } => {
                let path = self.reader.location().object_path(&self.file.key);
                let store = self.reader.location().store();
                let meta =
                    self.reader.wait(store.head(&path))?.map_err(|error| self.reader.failed(self.file, error))?;
                check_version(self.reader, self.file, &meta)
            }
            Payload::Stream { .. } => Ok(()),
        }
    }

    /// Waits for the next piece; a transfer that breaks is taken up again where it broke.
    fn receive(&mut self) -> Result<(), ReadError> {
        let Payload::Stream { stream, piece } = &mut self.payload else { return Ok(()) };
        while self.received < self.size {
            match self.reader.wait(stream.next())? {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    self.received += bytes.len() as u64;
                    *piece = bytes;
                    return Ok(());
                }
                Some(Err(error)) if self.resumes == MAX_RESUMES => return Err(self.reader.failed(self.file, error)),
                broken => {
                    tracing::debug!(key = %self.file.key, received = self.received, error = ?broken, "transfer broke");
                    self.resumes += 1;
                    if self.resumes > MAX_RESUMES {
                        return Err(unavailable_file(self.file, std::io::ErrorKind::UnexpectedEof.into()));
                    }
                    std::thread::sleep(RESUME_DELAY * self.resumes);
                    *stream = get(self.reader, self.file, self.received)?.into_stream();
                }
            }
        }
        Ok(())
    }
}

/// Asks for the file from byte `offset` on.
///
/// The version is compared with what the answer says of the bytes it carries, which costs no second request to learn
/// which version is there now, as a refused If-Match would.
fn get(reader: &Reader, file: &InputFile, offset: u64) -> Result<GetResult, ReadError> {
    let path = reader.location().object_path(&file.key);
    let range = (offset > 0).then_some(GetRange::Offset(offset));
    let options = GetOptions { range, ..GetOptions::default() };
    let store = reader.location().store();
    let got = reader.wait(store.get_opts(&path, options))?.map_err(|error| reader.failed(file, error))?;
    check_version(reader, file, &got.meta)?;
    Ok(got)
}

fn check_version(reader: &Reader, file: &InputFile, meta: &ObjectMeta) -> Result<(), ReadError> {
    let found = reader.location().version_of(meta);
    if found == file.version {
        return Ok(());
    }
    Err(ReadError::Changed { key: file.key.clone(), found, size: meta.size })
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn unavailable_file(file: &InputFile, error: std::io::Error) -> ReadError {
    let cause = object_store::Error::Generic { store: "raw location", source: Box::new(error) };
    ReadError::Unavailable { key: file.key.clone(), cause }
}
