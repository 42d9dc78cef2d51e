//! Reading one input file and telling the chunk of each of its lines.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use neartime_model::{Chunk, FileKey, Instant};

use super::ImportError;
use super::cut::Cut;
use super::input::Input;
use super::name::{ContentId, has_four_digits};
use crate::lines::{Fields, Line, Lines, Raw, Refusal, Taken};
use crate::read::ReadError;
use crate::report::{BadLine, Findings, Reason, excerpt};
use crate::source::{ColumnKind, Source};
use crate::values::TimeReader;

/// Why the reading of one input file ended early.
pub(super) enum Stop {
    /// The file is to blame: the others go on.
    Broken(String),
    Error(ImportError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        match error {
            // Who reads one file hears of one.
            ReadError::Broken { files } => Self::Broken(files.into_values().collect()),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Self {
        Self::Error(error)
    }
}

/// Where the event time stands and how it is read.
pub(super) struct EventTime {
    column: usize,
    reader: TimeReader,
}

impl EventTime {
    /// `None` for a source without one.
    pub(super) fn of(source: &Source) -> Option<Self> {
        let column = source.event_time_column()?;
        match &source.columns[column].kind {
            ColumnKind::Timestamp { unit, zone } => Some(Self { column, reader: TimeReader::new(unit, zone) }),
            _ => None,
        }
    }
}

/// Sorts the lines of one input file into chunks.
pub(super) struct Sorter<'a> {
    source: &'a Source,
    event_time: &'a EventTime,
    path: &'a Path,
    fields: Fields,
    scratch: Vec<u8>,
    sorted: Sorted,
}

/// What an input file holds.
pub(super) struct Sorted {
    pub(super) cut: Cut,
    pub(super) content: ContentId,
    pub(super) findings: Findings,
}

impl<'a> Sorter<'a> {
    pub(super) fn new(source: &'a Source, event_time: &'a EventTime, path: &'a Path, staging: &Path) -> Self {
        let sorted = Sorted { cut: Cut::new(staging), content: ContentId::default(), findings: Findings::default() };
        Self { source, event_time, path, fields: Fields::new(source), scratch: Vec::new(), sorted }
    }

    /// Reads the file from front to end.
    pub(super) fn sort(mut self, bytes_read: &AtomicU64) -> Result<Sorted, Stop> {
        let mut input = Input::open(self.path, bytes_read)?;
        self.fields.begin_file();
        let mut lines = Lines::new();
        lines.begin_file(self.fields.quoting());
        while let Some((number, line)) = lines.next(&mut input)? {
            match line {
                Line::Whole(line) => {
                    self.sorted.content.add(line);
                    self.take(number, line)?;
                }
                Line::TooLong(head) => {
                    self.sorted.content.add(head);
                    self.sorted.findings.lines += 1;
                    self.refuse(Reason::LineTooLong, None, number, head);
                }
            }
        }
        Ok(self.sorted)
    }

    fn take(&mut self, number: u64, line: &[u8]) -> Result<(), Stop> {
        let text = self.fields.trim(line);
        if text.is_empty() {
            return Ok(());
        }
        match self.fields.take(text) {
            Ok(Taken::Header) => {
                self.sorted.cut.set_header(line);
                return Ok(());
            }
            Ok(Taken::Row) => {}
            Err(Refusal::File(reason)) => return Err(Stop::Broken(reason)),
            Err(Refusal::Line(reason)) => {
                self.sorted.findings.lines += 1;
                self.refuse(reason, None, number, text);
                return Ok(());
            }
        }
        self.sorted.findings.lines += 1;
        let column = self.event_time.column;
        match self.chunk_of(self.fields.raw(text, column)) {
            Ok(chunk) => self.sorted.cut.add(chunk, line)?,
            Err(reason) => self.refuse(reason, Some(column), number, text),
        }
        Ok(())
    }

    fn chunk_of(&mut self, raw: Raw<'_>) -> Result<Chunk, Reason> {
        let read = self.event_time.reader.read(raw, &mut self.scratch);
        let millis = read.map_err(|_| Reason::BadEventTime)?.ok_or(Reason::MissingEventTime)?;
        let chunk = self.source.width.chunk_of(Instant::from_millis(millis));
        // No layout can name what lies beyond.
        if has_four_digits(chunk.start()) { Ok(chunk) } else { Err(Reason::BadEventTime) }
    }

    #[cold]
    fn refuse(&mut self, reason: Reason, column: Option<usize>, number: u64, text: &[u8]) {
        let (path, columns) = (self.path, &self.source.columns);
        self.sorted.findings.refuse(reason, || BadLine {
            key: FileKey::new(path.display().to_string()),
            line: number,
            column: column.map(|column| columns[column].name.clone()),
            reason,
            text: excerpt(text),
        });
    }
}
