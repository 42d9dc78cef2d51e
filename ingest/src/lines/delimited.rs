//! Delimited lines: fields between delimiters, quoted as in RFC 4180.

use std::ops::Range;

use memchr::memchr;

use super::split::closing_quote;
use super::{Quoting, Raw, Refusal, Taken};
use crate::report::Reason;
use crate::source::{Column, Delimited, Header};

/// Where a wanted field stands in its line, without its quotes.
#[derive(Clone, Debug, Default)]
struct Field {
    range: Range<usize>,
    doubled: bool,
}

/// Finds the fields of delimited lines. A line with more or fewer fields than the header is bad; a column that a
/// file's own header does not name is null in that file.
#[derive(Debug)]
pub(crate) struct DelimitedLine {
    delimiter: u8,
    quote: Option<u8>,
    /// The field that each column takes.
    wanted: Vec<String>,
    /// The header of the configuration, for files without one.
    names: Option<Vec<String>>,
    /// The file's number of fields; `None` before its header.
    width: Option<usize>,
    /// For each field of the file the columns that take it.
    takers: Vec<Vec<usize>>,
    /// For each column its value, or `None` where the file does not have it.
    fields: Vec<Option<Field>>,
}

impl DelimitedLine {
    pub(crate) fn new(format: &Delimited, columns: &[Column]) -> Self {
        let field = |column: &Column| column.field_name().expect("checked with the source").to_owned();
        let names = match format.header() {
            Header::FirstLine => None,
            Header::Names(names) => Some(names.clone()),
        };
        Self {
            delimiter: format.delimiter(),
            quote: format.quote(),
            wanted: columns.iter().map(field).collect(),
            names,
            width: None,
            takers: Vec::new(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn quoting(&self) -> Option<Quoting> {
        self.quote.map(|quote| Quoting { delimiter: self.delimiter, quote })
    }

    pub(crate) fn begin_file(&mut self) {
        self.width = None;
        if let Some(names) = self.names.clone() {
            self.set_header(&names);
        }
    }

    /// White space round the line goes, but not where it is the delimiter.
    pub(crate) fn trim<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        let is_text = |byte: &u8| !byte.is_ascii_whitespace() || *byte == self.delimiter;
        match (line.iter().position(is_text), line.iter().rposition(is_text)) {
            (Some(first), Some(last)) => &line[first..=last],
            _ => &[],
        }
    }

    pub(crate) fn take(&mut self, line: &[u8]) -> Result<Taken, Refusal> {
        match self.width {
            Some(width) => self.take_row(line, width).map(|()| Taken::Row),
            None => self.take_header(line).map(|()| Taken::Header),
        }
    }

    #[inline]
    pub(crate) fn raw<'a>(&self, line: &'a [u8], column: usize) -> Raw<'a> {
        match &self.fields[column] {
            None => Raw::Absent,
            Some(field) => match (&line[field.range.clone()], field.doubled, self.quote) {
                (text, true, Some(quote)) => Raw::Doubled(text, quote),
                (text, _, _) => Raw::Text(text),
            },
        }
    }

    fn take_row(&mut self, line: &[u8], width: usize) -> Result<(), Refusal> {
        let (takers, fields) = (&self.takers, &mut self.fields);
        let count = each_field(line, self.delimiter, self.quote, |at, field| {
            for &column in takers.get(at).into_iter().flatten() {
                fields[column] = Some(field.clone());
            }
        })?;
        if count == width { Ok(()) } else { Err(Reason::WrongFieldCount.into()) }
    }

    fn take_header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (mut names, mut has_returns) = (Vec::new(), false);
        let read = each_field(line, self.delimiter, self.quote, |_, field| {
            let is_quoted = field.range.start > 0 && self.quote == Some(line[field.range.start - 1]);
            has_returns |= !is_quoted && line[field.range.clone()].contains(&b'\r');
            let mut name = Vec::new();
            match self.quote {
                Some(quote) if field.doubled => undouble(&line[field.range], quote, &mut name),
                _ => name.extend_from_slice(&line[field.range]),
            }
            names.push(String::from_utf8_lossy(name.trim_ascii()).into_owned());
        });
        read.map_err(|_| Refusal::File("the quotes of its header line do not close".to_owned()))?;
        if has_returns {
            return Err(Refusal::File("its lines end in carriage returns alone: write newlines".to_owned()));
        }
        if !self.wanted.iter().any(|wanted| names.contains(wanted)) {
            return Err(Refusal::File("its header line names none of the source's columns".to_owned()));
        }
        self.set_header(&names);
        Ok(())
    }

    /// Lays out which columns take which field; of a repeated name the first counts.
    fn set_header(&mut self, names: &[String]) {
        self.width = Some(names.len());
        self.takers = vec![Vec::new(); names.len()];
        self.fields = vec![None; self.wanted.len()];
        for (column, wanted) in self.wanted.iter().enumerate() {
            if let Some(at) = names.iter().position(|name| name == wanted) {
                self.takers[at].push(column);
            }
        }
    }
}

/// Shows every field of a line in turn and counts them.
fn each_field(
    line: &[u8],
    delimiter: u8,
    quote: Option<u8>,
    mut show: impl FnMut(usize, Field),
) -> Result<usize, Reason> {
    let (mut pos, mut at) = (0, 0);
    loop {
        let (field, end) = match quote {
            Some(quote) if line.get(pos) == Some(&quote) => {
                let close = closing_quote(line, pos + 1, quote).ok_or(Reason::BadQuotes)?;
                let doubled = memchr(quote, &line[pos + 1..close]).is_some();
                (Field { range: pos + 1..close, doubled }, close + 1)
            }
            _ => {
                let end = memchr(delimiter, &line[pos..]).map_or(line.len(), |length| pos + length);
                (Field { range: pos..end, doubled: false }, end)
            }
        };
        show(at, field);
        at += 1;
        match line.get(end) {
            None => return Ok(at),
            Some(byte) if *byte == delimiter => pos = end + 1,
            Some(_) => return Err(Reason::BadQuotes),
        }
    }
}

/// Appends what the inside of a quoted field stands for.
pub(crate) fn undouble(text: &[u8], quote: u8, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(quote, rest) {
        out.extend_from_slice(&rest[..=at]);
        rest = &rest[rest.len().min(at + 2)..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests;
