//! From inflated bytes to lines to fields: what stands where, nothing converted yet.

pub(crate) mod delimited;
mod json;
pub(crate) mod name;
mod paths;
mod pattern;
pub(crate) mod scan;
mod shape;
mod split;

pub(crate) use paths::Step;
pub(crate) use split::{BLOCK_BYTES, Line, Lines, Quoting, ReadBytes, read_by_copying};

use crate::report::Reason;
use crate::source::{Format, Source};
use delimited::DelimitedLine;
use json::Walker;
use paths::{Paths, Place};
use pattern::PatternLine;

/// A wanted value as it stands in its line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Raw<'a> {
    /// It is not there.
    Absent,
    /// JSON's null.
    Null,
    /// Text that stands for itself.
    Text(&'a [u8]),
    /// The inside of a JSON string with escapes.
    Escaped(&'a [u8]),
    /// The inside of a quoted field with doubled quotes, and the quote.
    Doubled(&'a [u8], u8),
    /// A JSON number.
    Number(&'a [u8]),
    /// `true` or `false`.
    Bool(&'a [u8]),
    /// A JSON object or array.
    Container(&'a [u8]),
}

impl Raw<'_> {
    /// Whether nothing was sent: absent, null and empty are the same.
    pub(crate) fn is_missing(self) -> bool {
        matches!(self, Self::Absent | Self::Null | Self::Text([]))
    }
}

/// What a line turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A row: its values can be asked for.
    Row,
    /// The names of the columns.
    Header,
}

/// What cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// One line.
    Line(Reason),
    /// The whole file.
    File(String),
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Line(reason)
    }
}

/// Finds the values of a source's columns in its lines, whatever its format.
#[derive(Debug)]
pub(crate) struct Fields {
    format: FormatFields,
    places: Vec<Place>,
}

#[derive(Debug)]
enum FormatFields {
    Json(Box<Walker>),
    Delimited(DelimitedLine),
    Pattern(PatternLine),
}

impl Fields {
    /// For the lines of `source`, each column at its position.
    pub(crate) fn new(source: &Source) -> Self {
        let flat = || (0..source.columns.len()).map(|slot| Place { slot, rest: Vec::new() }).collect();
        match &source.format {
            Format::Json => {
                let (paths, places) = Paths::new(&source.columns);
                Self { format: FormatFields::Json(Box::new(Walker::new(paths))), places }
            }
            Format::Delimited(format) => {
                let fields = DelimitedLine::new(format, &source.columns);
                Self { format: FormatFields::Delimited(fields), places: flat() }
            }
            Format::Pattern(pattern) => {
                let fields = PatternLine::new(pattern, &source.columns);
                Self { format: FormatFields::Pattern(fields), places: flat() }
            }
        }
    }

    /// Prepares for the first line of a file.
    pub(crate) fn begin_file(&mut self) {
        if let FormatFields::Delimited(fields) = &mut self.format {
            fields.begin_file();
        }
    }

    /// How lines end where newlines can be quoted.
    pub(crate) fn quoting(&self) -> Option<Quoting> {
        match &self.format {
            FormatFields::Delimited(fields) => fields.quoting(),
            _ => None,
        }
    }

    /// The line without the white space round it.
    #[inline]
    pub(crate) fn trim<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match &self.format {
            FormatFields::Delimited(fields) => fields.trim(line),
            _ => line.trim_ascii(),
        }
    }

    /// Finds the values of a trimmed line that is not empty.
    #[inline]
    pub(crate) fn take(&mut self, line: &[u8]) -> Result<Taken, Refusal> {
        match &mut self.format {
            FormatFields::Json(walker) => walker.walk(line).map_err(Refusal::Line).map(|()| Taken::Row),
            FormatFields::Delimited(fields) => fields.take(line),
            FormatFields::Pattern(fields) => fields.take(line).map_err(Refusal::Line).map(|()| Taken::Row),
        }
    }

    /// The value of the column at position `column` on `line`, which was taken last.
    #[inline(always)]
    pub(crate) fn raw<'a>(&self, line: &'a [u8], column: usize) -> Raw<'a> {
        let slot = self.places[column].slot;
        match &self.format {
            FormatFields::Json(walker) => walker.raw(line, slot),
            FormatFields::Delimited(fields) => fields.raw(line, slot),
            FormatFields::Pattern(fields) => fields.raw(line, slot),
        }
    }

    /// The steps that lead on from the value of `column` to the items of its list.
    pub(crate) fn rest(&self, column: usize) -> &[Step] {
        &self.places[column].rest
    }
}
