//! `neartime import`: cuts files of any name and order into files of a source's layout, by event time.
//!
//! Each input file gives one gz file for each chunk that it has lines of; lines stay byte for byte what they were.
//! Names are made from the content of the input, so that importing a file twice adds nothing, and importing another
//! one overwrites nothing. Where the layout has a `*`, the name tells the content; where it has none, the time within
//! the chunk is chosen by it, and the comment in the file's gzip header tells files apart.
//!
//! Memory is bounded: lines are collected by chunk, and the fullest chunks are compressed to hidden files beside the
//! location's own when there are too many. An input file appears in full or not at all, unless the import is killed
//! while it publishes; the same import again then completes it.

mod cut;
mod input;
mod name;
mod neighbours;
mod publish;
mod sort;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use neartime_model::{Chunk, Classify, ErrorKind};
use tokio::runtime::Handle;

use crate::layout::FormatError;
use crate::report::{BadLine, Findings, Reason};
use crate::source::Source;
use cut::Cut;
use name::{ContentId, Names};
use neighbours::Neighbours;
use publish::Publisher;
use sort::{EventTime, Sorted, Sorter, Stop};

/// What is to be imported.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// Local files in the source's format; gzip, zstd or plain.
    pub files: Vec<PathBuf>,
    /// A value for each capture of the source's layout.
    pub captures: BTreeMap<String, String>,
    /// Grows by the stored bytes that were read, for whoever shows progress.
    pub bytes_read: Arc<AtomicU64>,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Lines that held something: blank ones and headers are not counted.
    pub lines: u64,
    /// Lines that stand in the source's files now: in new ones or in those of the same import before.
    pub placed: u64,
    /// Of them lines of chunks that begin before the source's `since`: discovery will not see them.
    pub before_since: u64,
    /// Files that were made.
    pub files_made: u64,
    /// Files that an earlier import of the same content had made.
    pub files_there: u64,
    /// Lines that could not be placed, by reason: bad lines, and those without a usable event time.
    pub refused: BTreeMap<Reason, u64>,
    /// The first hundred examples of each reason; the key is the input file's path.
    pub examples: Vec<BadLine>,
    /// Input files that went into chunks in which earlier imports have files.
    pub overlaps: Vec<Overlap>,
    /// Input files that could not be read to their end, with the reason. Nothing of them was placed.
    pub broken: Vec<(PathBuf, String)>,
}

/// An input file of which some lines may have been imported before, as those of a log that has grown. Only seen where
/// the layout has a `*`, so that names tell the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The input file.
    pub file: PathBuf,
    /// What the names of the files have in common that were made of it.
    pub mark: String,
    /// The same of the earlier imports that have files in the same chunks.
    pub others: BTreeSet<String>,
}

/// Why an import ended early. What it had made before stays; the same import again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source or the request does not allow it.
    #[error("import into source `{source_name}`: {problem}")]
    Invalid {
        /// The source's name.
        source_name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The layout cannot name the files.
    #[error("name an imported file")]
    Name(#[from] FormatError),
    /// Every name that the layout has for a chunk is taken by other files.
    #[error("name an imported file: all {names} names of the layout for the chunk {} are taken; put a `*` into the layout", chunk.start())]
    NoNameLeft {
        /// The chunk.
        chunk: Chunk,
        /// How many names it has.
        names: i64,
    },
    /// The location is away, or refuses us.
    #[error("write to `{location}`: it cannot be reached or refuses us")]
    Unavailable {
        /// The location as written.
        location: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// A local file cannot be read or written.
    #[error("{action} {}", path.display())]
    Local {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: std::io::Error,
    },
}

impl Classify for ImportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } | Self::Name(_) => ErrorKind::Invalid,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::NoNameLeft { .. } | Self::Local { .. } => ErrorKind::Failed,
        }
    }
}

impl ImportError {
    fn local<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |cause| Self::Local { action, path: path.to_owned(), cause }
    }
}

/// Cuts the files of `request` and puts them where `source` will find them. Must be called within a tokio runtime.
///
/// Lines are judged as a read judges them, but only for what is needed to place them: a bad line, or one whose event
/// time is missing or does not fit its column, is counted and left out; all others are kept, whatever else a read
/// will say of them.
pub async fn import(source: &Arc<Source>, request: ImportRequest) -> Result<ImportReport, ImportError> {
    let (source, runtime) = (Arc::clone(source), Handle::current());
    let work = move || Import::new(&source, &request, runtime)?.run();
    match tokio::task::spawn_blocking(work).await {
        Ok(report) => report,
        Err(died) => std::panic::resume_unwind(died.into_panic()),
    }
}

/// One import under way.
struct Import<'a> {
    source: &'a Source,
    request: &'a ImportRequest,
    event_time: EventTime,
    names: Names<'a>,
    publisher: Publisher<'a>,
    neighbours: Neighbours<'a>,
    findings: Findings,
    report: ImportReport,
}

impl<'a> Import<'a> {
    fn new(source: &'a Source, request: &'a ImportRequest, runtime: Handle) -> Result<Self, ImportError> {
        let invalid = |problem| ImportError::Invalid { source_name: source.name.to_string(), problem };
        let event_time = EventTime::of(source).ok_or_else(|| {
            invalid("it has no event time to cut by: name a timestamp column in its event_time".to_owned())
        })?;
        let names = Names::new(source, &request.captures).map_err(invalid)?;
        // Before anything is written: a mistyped name should cost nothing. Not opened, as a pipe can be but once.
        for path in &request.files {
            if std::fs::metadata(path).map_err(ImportError::local("open", path))?.is_dir() {
                return Err(invalid(format!("{} is a directory: name its files", path.display())));
            }
        }
        let publisher = Publisher::new(source, runtime)?;
        let neighbours = Neighbours::new(&source.location, publisher.runtime().clone());
        let (findings, report) = (Findings::default(), ImportReport::default());
        Ok(Self { source, request, event_time, names, publisher, neighbours, findings, report })
    }

    fn run(mut self) -> Result<ImportReport, ImportError> {
        for path in &self.request.files {
            let sorter = Sorter::new(self.source, &self.event_time, path, self.publisher.staging());
            match sorter.sort(&self.request.bytes_read) {
                Ok(Sorted { cut, content, findings }) => {
                    self.publish(path, cut, content)?;
                    self.findings.merge(findings);
                }
                Err(Stop::Broken(reason)) => self.report.broken.push((path.clone(), reason)),
                Err(Stop::Error(error)) => return Err(error),
            }
        }
        let found = self.findings.into_report(0);
        Ok(ImportReport { lines: found.lines, refused: found.counts, examples: found.examples, ..self.report })
    }

    fn publish(&mut self, file: &Path, cut: Cut, content: ContentId) -> Result<(), ImportError> {
        let mut others = BTreeSet::new();
        self.neighbours.ours(content);
        for staged in cut.finish(content)? {
            if self.publisher.publish(&self.names, &staged, content)? {
                self.report.files_made += 1;
                others.extend(self.neighbours.of(&self.names, staged.chunk, content)?);
            } else {
                self.report.files_there += 1;
            }
            self.report.placed += staged.lines;
            if self.source.since.is_some_and(|since| staged.chunk.start() < since) {
                self.report.before_since += staged.lines;
            }
        }
        if !others.is_empty() {
            self.report.overlaps.push(Overlap { file: file.to_owned(), mark: content.to_string(), others });
        }
        Ok(())
    }
}
