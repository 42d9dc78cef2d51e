//! Putting files where nothing is yet.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use neartime_model::{Classified, Classify, ErrorKind, FileKey, Instant, Span};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::cutter::RawFile;
use super::names::Reservoir;
use super::sweep::{SWEPT_AFTER, modified_at};
use crate::discover::Found;

/// How long before it may be swept a file is made new.
const RENEWED_BEFORE: Span = Span::from_days(3);
/// How often a name is tried that is taken at first and free at second sight.
const ATTEMPTS: u32 = 3;

/// Why the reservoir could not be written or swept.
#[derive(Debug, thiserror::Error)]
pub enum ReservoirError {
    /// The bucket is away, or refuses us.
    #[error("could not {doing} `{key}` at `{location}`: it cannot be reached or refuses us")]
    Unavailable {
        /// What was attempted.
        doing: &'static str,
        /// The file; empty for the location as a whole.
        key: FileKey,
        /// The location as written.
        location: String,
        /// What the bucket said.
        #[source]
        cause: Box<Error>,
    },
    /// Another file has the name: two streams fill one source, or the stream was made anew.
    #[error("the name `{key}` at `{location}` is taken by other events: does another stream fill this source?")]
    Taken {
        /// The file.
        key: FileKey,
        /// The location as written.
        location: String,
    },
    /// Asking which files are registered failed.
    #[error("could not ask which files of the reservoir are registered")]
    Ledger(#[source] Classified),
}

impl Classify for ReservoirError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::Ledger(error) => error.kind(),
            Self::Taken { .. } => ErrorKind::Failed,
        }
    }
}

/// Puts a file into the source's bucket and gives what is to be registered. That it is there already is success, if it
/// holds the same lines.
pub async fn put(reservoir: &Reservoir, file: &RawFile, now: Instant) -> Result<Found, ReservoirError> {
    let putting = Putting { reservoir, file, path: reservoir.source().location.object_path(&file.key) };
    let mut mode = PutMode::Create;
    for _ in 0..ATTEMPTS {
        let cause = match putting.put(mode).await {
            Ok(meta) => return Ok(putting.found(&meta)),
            // The bucket itself may be missing: only a put that is refused for what is there is looked into.
            Err(error @ (Error::AlreadyExists { .. } | Error::Precondition { .. })) => error,
            Err(cause) => return Err(putting.unavailable("write", cause)),
        };
        tracing::debug!(key = %file.key, %cause, "the name is taken");
        mode = match putting.there().await? {
            // Swept, at this very moment.
            None => PutMode::Create,
            // About to be swept: written again, it is new.
            Some(meta) if modified_at(&meta) < now - SWEPT_AFTER + RENEWED_BEFORE => {
                PutMode::Update(UpdateVersion { e_tag: meta.e_tag, version: meta.version })
            }
            Some(meta) => return Ok(putting.found(&meta)),
        };
    }
    let cause = Error::Generic { store: "bucket", source: "the name is taken and free by turns".into() };
    Err(putting.unavailable("write", cause))
}

struct Putting<'a> {
    reservoir: &'a Reservoir,
    file: &'a RawFile,
    path: Path,
}

impl Putting<'_> {
    async fn put(&self, mode: PutMode) -> object_store::Result<ObjectMeta> {
        let store = self.reservoir.source().location.store();
        let put = store.put_opts(&self.path, self.file.bytes.clone().into(), PutOptions::from(mode)).await?;
        match put.e_tag {
            None => store.head(&self.path).await,
            Some(etag) => Ok(ObjectMeta {
                location: self.path.clone(),
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: self.file.bytes.len() as u64,
                e_tag: Some(etag),
                version: put.version,
            }),
        }
    }

    /// What stands under the name, if it holds the same lines; `None` if nothing does.
    async fn there(&self) -> Result<Option<ObjectMeta>, ReservoirError> {
        let got = match self.reservoir.source().location.store().get(&self.path).await {
            Ok(got) => got,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(cause) => return Err(self.unavailable("read", cause)),
        };
        let meta = got.meta.clone();
        let bytes = got.bytes().await.map_err(|cause| self.unavailable("read", cause))?;
        if bytes == self.file.bytes || same_lines(&bytes, &self.file.bytes) {
            return Ok(Some(meta));
        }
        let location = self.reservoir.source().location.to_string();
        Err(ReservoirError::Taken { key: self.file.key.clone(), location })
    }

    fn found(&self, meta: &ObjectMeta) -> Found {
        let location = &self.reservoir.source().location;
        Found {
            key: self.file.key.clone(),
            version: location.version_of(meta),
            size: meta.size,
            path: self.file.path.clone(),
            source_bucket: location.source_bucket().to_owned(),
            chunk: self.file.chunk,
        }
    }

    fn unavailable(&self, doing: &'static str, cause: Error) -> ReservoirError {
        let location = self.reservoir.source().location.to_string();
        ReservoirError::Unavailable { doing, key: self.file.key.clone(), location, cause: Box::new(cause) }
    }
}

/// Whether two gzip files inflate to the same: another version of neartime may pack the same lines in another way.
fn same_lines(one: &Bytes, other: &Bytes) -> bool {
    let (mut one, mut other) = (MultiGzDecoder::new(&one[..]), MultiGzDecoder::new(&other[..]));
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        match (fill(&mut one, &mut left), fill(&mut other, &mut right)) {
            (Ok(read), Ok(other_read)) if read == other_read && left[..read] == right[..read] => {
                if read == 0 {
                    return true;
                }
            }
            _ => return false,
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
