//! Discovery by listing: finds the files of a source without looking at old ones again.
//!
//! A walk goes down the layout folder by folder and leaves out every folder whose time, as far as its name tells it,
//! lies outside of what is wanted; where file names sort by time it begins in their midst. So a pass costs what is
//! recent, not what is there. It only finds: registering is the caller's, who also keeps [`Seen`] between passes.
//!
//! **Invariant:** files are handed on in batches; no pass ever holds all of them.

mod bucket;
mod directory;
mod list;
mod seen;
#[cfg(test)]
mod tests;

use std::sync::Mutex;

use futures::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use neartime_model::{Chunk, Classify, ErrorKind, FileKey, FilePath, FileVersion, Instant};
use tokio::sync::mpsc;

use crate::layout::{FolderMatch, TimeRange, has_hidden_name, is_hidden};
use crate::source::Source;
use list::{Listed, Lister};
pub use seen::Seen;

/// Files in one batch.
pub const BATCH_FILES: usize = 1_000;
/// How many examples of files that do not match are kept.
const MAX_EXAMPLES: usize = 5;
/// Folders that are listed at once.
const LISTINGS: usize = 8;

/// Which files of a source a walk looks for.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// All that are not older than the source's `since`; files that do not match are counted wherever they lie.
    Everything,
    /// Of each path those from its newest seen day minus the source's `look_back` on; of paths never seen, all.
    Recent {
        /// What the passes before this one found.
        seen: &'a Seen,
        /// The present instant: a day in the future counts as today, so that one odd name cannot hide all others.
        now: Instant,
    },
    /// Those with a layout time in `[from, until)`, whatever the source's `since`.
    Between {
        /// The first instant.
        from: Instant,
        /// The first instant after the range.
        until: Instant,
    },
}

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name below the location.
    pub key: FileKey,
    /// Which content of the key it is.
    pub version: FileVersion,
    /// Stored size in bytes.
    pub size: u64,
    /// The path that it belongs to.
    pub path: FilePath,
    /// The bucket, or the directory as written, as the task table shows it.
    pub source_bucket: String,
    /// The chunk that it belongs to.
    pub chunk: Chunk,
}

/// What a walk came across.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Files that were handed on.
    pub matched: u64,
    /// Files of the layout that were listed but lie outside of the wanted time.
    pub outside: u64,
    /// Listed files that are not of the layout. Those whose name, or a folder's, begins with `.` or `_` do not count;
    /// folders in which nothing can match are looked into by [`Scope::Everything`] alone.
    pub unmatched: u64,
    /// Keys of some of them.
    pub unmatched_examples: Vec<String>,
}

/// Why a walk ended early. What was handed on before is valid.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The location is away, or refuses us.
    #[error("list the files of source `{source_name}` at `{location}`: it cannot be reached or refuses us")]
    Unavailable {
        /// The source's name.
        source_name: String,
        /// The location as written.
        location: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// Nobody takes the batches any more.
    #[error("the listing was cancelled")]
    Cancelled,
}

impl Classify for DiscoverError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

/// Lists the files of `source` in `scope` and sends them to `batches`, [`BATCH_FILES`] at a time, in no order.
///
/// A folder that refuses us does not hold back the others: it is the error at the end. The receiver must be polled
/// at the same time, as the channel is what holds the walk back.
pub async fn discover(
    source: &Source,
    scope: Scope<'_>,
    batches: &mpsc::Sender<Vec<Found>>,
) -> Result<Discovered, DiscoverError> {
    let walk = Walk {
        source,
        scope,
        lister: list::lister(&source.location),
        batches,
        batch: Mutex::default(),
        tally: Mutex::default(),
    };
    walk.run().await
}

/// One pass under way.
struct Walk<'a> {
    source: &'a Source,
    scope: Scope<'a>,
    lister: Box<dyn Lister + 'a>,
    batches: &'a mpsc::Sender<Vec<Found>>,
    batch: Mutex<Vec<Found>>,
    tally: Mutex<Discovered>,
}

/// A folder yet to be listed.
struct Folder {
    /// Its name below the location, without a slash at its end; empty for the location itself.
    key: String,
    /// How many names deep it lies.
    depth: usize,
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    /// It holds files or folders of the layout.
    Layout {
        /// All that is in it is wanted.
        whole: bool,
        /// Where the wanted time begins, if in its midst.
        cutoff: Option<Instant>,
    },
    /// It holds only what does not match, to be counted.
    Strays,
}

impl Walk<'_> {
    async fn run(&self) -> Result<Discovered, DiscoverError> {
        self.source.location.check().await.map_err(|cause| self.unavailable(cause))?;
        let mut refused = None;
        // Depth first, so that the list of folders yet to come stays short.
        let mut waiting: Vec<Folder> = self.folder(String::new(), 0).into_iter().collect();
        let mut listings = FuturesUnordered::new();
        loop {
            while listings.len() < LISTINGS
                && let Some(folder) = waiting.pop()
            {
                listings.push(self.visit(folder));
            }
            match listings.next().await {
                None => break,
                Some(Ok(inner)) => waiting.extend(inner),
                Some(Err(error)) if error.is_refusal() => refused = Some(error),
                Some(Err(error)) => return Err(error),
            }
        }
        let rest = std::mem::take(&mut *self.batch.lock().expect("no holder panics"));
        self.send(rest).await?;
        match refused {
            Some(error) => Err(error),
            None => Ok(self.tally.lock().expect("no holder panics").clone()),
        }
    }

    /// Lists one folder: hands on its files, and answers with the folders in it that are worth a visit.
    async fn visit(&self, folder: Folder) -> Result<Vec<Folder>, DiscoverError> {
        match folder.work {
            Work::Strays => self.files(&folder, None).await.map(|()| Vec::new()),
            Work::Layout { cutoff, .. } if folder.depth == self.source.layout.folders() => {
                self.files(&folder, cutoff.and_then(|cutoff| self.source.layout.names_from(cutoff))).await?;
                Ok(Vec::new())
            }
            // One listing of all below costs a request for each thousand files, instead of one for each folder.
            Work::Layout { whole: true, .. } if self.lister.lists_deep() => {
                self.files(&folder, None).await.map(|()| Vec::new())
            }
            Work::Layout { .. } => self.folders(&folder).await,
        }
    }

    async fn folders(&self, folder: &Folder) -> Result<Vec<Folder>, DiscoverError> {
        let level = self.lister.level(&folder.key).await.map_err(|cause| self.unavailable(cause))?;
        for stray in &level.files {
            self.count_stray(stray);
        }
        let visible = level.folders.into_iter().filter(|key| !is_hidden(last_name(key)));
        Ok(visible.filter_map(|key| self.folder(key, folder.depth + 1)).collect())
    }

    /// What is to be done with a folder; `None` if nothing.
    fn folder(&self, key: String, depth: usize) -> Option<Folder> {
        let work = match self.source.layout.match_folder(&key, depth, &|path| self.wanted(path)) {
            FolderMatch::Wanted { whole, cutoff } => Work::Layout { whole, cutoff },
            FolderMatch::OutOfRange => return None,
            FolderMatch::Never if matches!(self.scope, Scope::Everything) => Work::Strays,
            FolderMatch::Never => return None,
        };
        Some(Folder { key, depth, work })
    }

    /// Hands on the files of a folder whose names sort after `after`.
    async fn files(&self, folder: &Folder, after: Option<String>) -> Result<(), DiscoverError> {
        let deep = matches!(self.scope, Scope::Everything);
        let mut pages = self.lister.files(&folder.key, after.as_deref(), deep);
        while let Some(page) = pages.try_next().await.map_err(|cause| self.unavailable(cause))? {
            for file in page {
                self.file(file).await?;
            }
        }
        Ok(())
    }

    async fn file(&self, listed: Listed) -> Result<(), DiscoverError> {
        let Listed::File { key, size, version } = listed else {
            let Listed::Unusable { key } = listed else { return Ok(()) };
            self.count_stray(&key);
            return Ok(());
        };
        let layout = &self.source.layout;
        let Some(matched) = layout.match_key(&key) else {
            self.count_stray(&key);
            return Ok(());
        };
        let part = layout.path_part(&matched.path_captures);
        if !self.wanted(Some(&part)).contains(matched.at) {
            self.tally.lock().expect("no holder panics").outside += 1;
            return Ok(());
        }
        self.tally.lock().expect("no holder panics").matched += 1;
        let found = Found {
            path: self.source.location.file_path(&part),
            source_bucket: self.source.location.source_bucket().to_owned(),
            chunk: self.source.width.chunk_of(matched.at),
            key: FileKey::new(key),
            version,
            size,
        };
        let full = {
            let mut batch = self.batch.lock().expect("no holder panics");
            batch.push(found);
            (batch.len() >= BATCH_FILES).then(|| std::mem::take(&mut *batch))
        };
        self.send(full.unwrap_or_default()).await
    }

    async fn send(&self, batch: Vec<Found>) -> Result<(), DiscoverError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.batches.send(batch).await.map_err(|_| DiscoverError::Cancelled)
    }

    /// The wanted time of a path, or of those that are not known yet.
    fn wanted(&self, path: Option<&str>) -> TimeRange {
        let since = self.source.since.unwrap_or(TimeRange::ALL.from);
        match self.scope {
            Scope::Everything => TimeRange { from: since, ..TimeRange::ALL },
            Scope::Between { from, until } => TimeRange { from, until },
            Scope::Recent { seen, now } => {
                let path = path.map(|part| self.source.location.file_path(part));
                let cutoff = path.and_then(|path| seen.cutoff(&path, self.source.look_back, now));
                TimeRange { from: cutoff.map_or(since, |cutoff| cutoff.max(since)), ..TimeRange::ALL }
            }
        }
    }

    fn count_stray(&self, key: &str) {
        if has_hidden_name(key) {
            return;
        }
        let mut tally = self.tally.lock().expect("no holder panics");
        tally.unmatched += 1;
        if tally.unmatched_examples.len() < MAX_EXAMPLES {
            tally.unmatched_examples.push(key.to_owned());
        }
    }

    fn unavailable(&self, cause: object_store::Error) -> DiscoverError {
        DiscoverError::Unavailable {
            source_name: self.source.name.to_string(),
            location: self.source.location.to_string(),
            cause,
        }
    }
}

impl DiscoverError {
    /// Whether we may not look, at the location or at some of its folders, where the others were listed: waiting will
    /// hardly mend that.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Unavailable { cause: object_store::Error::PermissionDenied { .. }, .. })
    }
}

fn last_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}
