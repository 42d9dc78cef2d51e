//! The walker over JSON lines.

use crate::lines::{Fields, Refusal};
use crate::source::{Column, ColumnKind, Format, Origin, Source};

pub use crate::report::Reason;

/// A value as it stands in its line, as `ingest` has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw<'a> {
    Absent,
    Null,
    Text(&'a [u8]),
    Escaped(&'a [u8]),
    Number(&'a [u8]),
    Bool(&'a [u8]),
    Container(&'a [u8]),
}

/// The walker over lines, for the values at these paths.
pub struct Walker(Fields);

impl Walker {
    pub fn new(paths: &[&[&str]]) -> Self {
        let column = |path: &&[&str]| Column {
            name: path.join("."),
            kind: ColumnKind::String,
            origin: Origin::Steps(path.iter().map(|step| (*step).to_owned()).collect()),
        };
        Self(Fields::new(&Source { format: Format::Json, columns: paths.iter().map(column).collect() }))
    }

    /// Takes a line without white space round it, which is not empty.
    pub fn walk(&mut self, line: &[u8]) -> Result<(), Reason> {
        match self.0.take(line) {
            Ok(_) => Ok(()),
            Err(Refusal::Line(reason)) => Err(reason),
            Err(Refusal::File(reason)) => panic!("no line of JSON fails its file: {reason}"),
        }
    }

    /// The value at the path of this position, on the line that was walked over last.
    pub fn value<'a>(&self, line: &'a [u8], path: usize) -> Raw<'a> {
        match self.0.raw(line, path) {
            crate::lines::Raw::Absent => Raw::Absent,
            crate::lines::Raw::Null => Raw::Null,
            crate::lines::Raw::Text(text) => Raw::Text(text),
            crate::lines::Raw::Escaped(text) => Raw::Escaped(text),
            crate::lines::Raw::Number(text) => Raw::Number(text),
            crate::lines::Raw::Bool(text) => Raw::Bool(text),
            crate::lines::Raw::Container(text) => Raw::Container(text),
            crate::lines::Raw::Doubled(..) => panic!("JSON doubles no quotes"),
        }
    }
}

/// What the inside of a string with escapes stands for, if it is text.
pub fn unescaped(body: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    crate::lines::scan::unescape(body, &mut out).ok()?;
    String::from_utf8(out).ok()
}
