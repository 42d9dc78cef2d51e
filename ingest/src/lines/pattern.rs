//! Pattern lines: the named groups of a regular expression.

use regex::bytes::CaptureLocations;

use super::Raw;
use crate::report::Reason;
use crate::source::{Column, Pattern};

/// Finds the groups of a pattern in lines.
#[derive(Debug)]
pub(crate) struct PatternLine {
    pattern: Pattern,
    /// The group that each column takes.
    groups: Vec<usize>,
    found: CaptureLocations,
}

impl PatternLine {
    pub(crate) fn new(pattern: &Pattern, columns: &[Column]) -> Self {
        let group = |column: &Column| {
            let field = column.field_name().expect("checked with the source");
            pattern.group(field).expect("checked with the source")
        };
        Self {
            groups: columns.iter().map(group).collect(),
            found: pattern.regex().capture_locations(),
            pattern: pattern.clone(),
        }
    }

    pub(crate) fn take(&mut self, line: &[u8]) -> Result<(), Reason> {
        // Bytes that are no UTF-8 match no `.` of an expression over text, which might end a group before them. Byte by
        // byte they spoil their value, not the line.
        let bytewise = self.pattern.bytewise().filter(|_| std::str::from_utf8(line).is_err());
        let regex = bytewise.unwrap_or(self.pattern.regex());
        match regex.captures_read(&mut self.found, line) {
            Some(_) => Ok(()),
            None => Err(Reason::NoMatch),
        }
    }

    pub(crate) fn raw<'a>(&self, line: &'a [u8], column: usize) -> Raw<'a> {
        match self.found.get(self.groups[column]).map(|(start, end)| &line[start..end]) {
            None => Raw::Absent,
            Some(b"-") if self.pattern.dash_is_null() => Raw::Null,
            Some(text) => Raw::Text(text),
        }
    }
}
