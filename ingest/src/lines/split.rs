//! Splitting: one buffer, refilled block by block, out of which lines are lent without copying them.

use std::ops::Range;

use memchr::memchr;

use crate::read::ReadError;

/// A line over this many bytes is bad; it is skipped, never held.
pub(crate) const MAX_LINE_BYTES: usize = 10_000_000;
/// How much is read at a time: small enough to stay in a core's own cache between inflating and parsing.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// How much of a line that is too long is kept to be shown.
const HEAD_BYTES: usize = crate::report::EXAMPLE_BYTES;
/// After so many records whose quotes never close, the rest of the file is split at every newline: each of them may
/// cost a search of 10 MB.
const MAX_UNCLOSED: u32 = 16;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Where inflated bytes come from.
pub(crate) trait ReadBytes {
    /// Fills `out`, which is not empty, and tells how many bytes it wrote: fewer only at the end, then 0.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError>;

    /// Brings more bytes behind `buffer[kept]`, and tells where those kept and the new ones are: only at the end are none
    /// new. The buffer may be another one then: who has a block of bytes hands it over instead of copying it.
    fn read_behind(&mut self, buffer: &mut Vec<u8>, kept: Range<usize>) -> Result<Range<usize>, ReadError> {
        read_by_copying(self, buffer, kept)
    }
}

/// [`ReadBytes::read_behind`] by moving what is kept to the front and reading into the rest of the same buffer.
pub(crate) fn read_by_copying<B: ReadBytes + ?Sized>(
    bytes: &mut B,
    buffer: &mut Vec<u8>,
    kept: Range<usize>,
) -> Result<Range<usize>, ReadError> {
    let end = kept.len();
    buffer.copy_within(kept, 0);
    if end == buffer.len() {
        buffer.resize(buffer.len() * 2, 0);
    } else if end == 0 && buffer.len() > BLOCK_BYTES {
        buffer.truncate(BLOCK_BYTES);
        buffer.shrink_to_fit();
    }
    Ok(0..end + bytes.read(&mut buffer[end..])?)
}

/// A line lent by [`Lines`], without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// The line as it stands.
    Whole(&'a [u8]),
    /// The beginning of a line over 10 MB.
    TooLong(&'a [u8]),
}

/// How newlines are quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoting {
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
}

/// Splits one file into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// What is not yet lent: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// `buffer[start..searched]` holds no newline.
    searched: usize,
    begun: bool,
    at_end: bool,
    quoting: Option<Quoting>,
    unclosed: u32,
    /// Newlines passed so far.
    newlines: u64,
    head: Vec<u8>,
}

/// Where the next record ends, as far as the buffer shows.
enum Found {
    /// Before the newline at this position (or the end of the file), with so many newlines inside it.
    Record { end: usize, inside: u64 },
    /// More bytes are needed to tell.
    Incomplete,
    /// No record: the file has ended.
    Nothing,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self::over(vec![0; BLOCK_BYTES], None)
    }

    /// Prepares for the first line of a file; the buffer is kept.
    pub(crate) fn begin_file(&mut self, quoting: Option<Quoting>) {
        *self = Self::over(std::mem::take(&mut self.buffer), quoting);
    }

    /// With a buffer of its own size, which is how much is read at a time.
    pub(crate) fn over(buffer: Vec<u8>, quoting: Option<Quoting>) -> Self {
        Self {
            buffer,
            start: 0,
            end: 0,
            searched: 0,
            begun: false,
            at_end: false,
            quoting,
            unclosed: 0,
            newlines: 0,
            head: Vec::new(),
        }
    }

    /// Lends the next line and its number, from 1, reading on where the buffer does not hold all of it. A record with
    /// newlines inside it has the number of its first line.
    #[inline]
    pub(crate) fn next(&mut self, bytes: &mut dyn ReadBytes) -> Result<Option<(u64, Line<'_>)>, ReadError> {
        loop {
            match self.find() {
                Found::Record { end, inside } => {
                    let line = self.start..end;
                    let number = self.newlines + 1;
                    self.newlines += 1 + inside;
                    self.start = self.end.min(end + 1);
                    self.searched = self.start;
                    let line = if line.len() > MAX_LINE_BYTES {
                        Line::TooLong(&self.buffer[line.start..line.start + HEAD_BYTES])
                    } else {
                        Line::Whole(&self.buffer[line])
                    };
                    return Ok(Some((number, line)));
                }
                Found::Nothing => return Ok(None),
                Found::Incomplete if self.end - self.start > MAX_LINE_BYTES => {
                    self.skip_line(bytes)?;
                    return Ok(Some((self.newlines, Line::TooLong(&self.head))));
                }
                Found::Incomplete => self.fill(bytes)?,
            }
        }
    }

    /// Looks for the end of the record at `start`.
    #[inline]
    fn find(&mut self) -> Found {
        match memchr(b'\n', &self.buffer[self.searched..self.end]) {
            Some(at) => {
                let newline = self.searched + at;
                match self.quoting {
                    Some(quoting) if memchr(quoting.quote, &self.buffer[self.start..newline]).is_some() => {
                        self.find_quoted(quoting, newline)
                    }
                    _ => Found::Record { end: newline, inside: 0 },
                }
            }
            None if !self.at_end => {
                self.searched = self.end;
                Found::Incomplete
            }
            None if self.start < self.end => Found::Record { end: self.end, inside: 0 },
            None => Found::Nothing,
        }
    }

    /// Looks for the end of a record that has quotes before its first newline.
    fn find_quoted(&mut self, quoting: Quoting, newline: usize) -> Found {
        let rest = &self.buffer[self.start..self.end];
        let more_may_come = !self.at_end && rest.len() <= MAX_LINE_BYTES;
        match quoted_end(rest, quoting) {
            QuotedEnd::Newline(end) => {
                let inside = memchr::memchr_iter(b'\n', &rest[..end]).count() as u64;
                Found::Record { end: self.start + end, inside }
            }
            QuotedEnd::Broken => Found::Record { end: newline, inside: 0 },
            QuotedEnd::Open | QuotedEnd::Text if more_may_come => {
                // The newline is looked for again from the start of the record.
                self.searched = self.start;
                Found::Incomplete
            }
            QuotedEnd::Text if self.at_end => {
                let inside = memchr::memchr_iter(b'\n', rest).count() as u64;
                Found::Record { end: self.end, inside }
            }
            QuotedEnd::Open | QuotedEnd::Text => {
                self.unclosed += 1;
                if self.unclosed == MAX_UNCLOSED {
                    self.quoting = None;
                }
                Found::Record { end: newline, inside: 0 }
            }
        }
    }

    /// Reads on behind the unfinished record.
    fn fill(&mut self, bytes: &mut dyn ReadBytes) -> Result<(), ReadError> {
        let (unfinished, searched) = (self.end - self.start, self.searched - self.start);
        let held = bytes.read_behind(&mut self.buffer, self.start..self.end)?;
        self.at_end = held.len() == unfinished;
        (self.start, self.end) = (held.start, held.end);
        if !self.begun && self.buffer[held].starts_with(BOM) {
            self.start += BOM.len();
        }
        self.searched = self.start + searched;
        self.begun = true;
        Ok(())
    }

    /// Passes the rest of a line that is too long, keeping its head.
    fn skip_line(&mut self, bytes: &mut dyn ReadBytes) -> Result<(), ReadError> {
        self.head.clear();
        self.head.extend_from_slice(&self.buffer[self.start..self.start + HEAD_BYTES]);
        self.newlines += 1;
        loop {
            (self.start, self.end) = (0, 0);
            let read = bytes.read(&mut self.buffer)?;
            self.at_end = read == 0;
            self.end = read;
            if let Some(at) = memchr(b'\n', &self.buffer[..self.end]) {
                self.start = at + 1;
            } else if !self.at_end {
                continue;
            }
            self.searched = self.start;
            return Ok(());
        }
    }
}

/// How a record with quoted fields ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuotedEnd {
    /// At the newline at this position.
    Newline(usize),
    /// At the end of the text, as far as it goes.
    Text,
    /// Inside a quoted field that is not closed.
    Open,
    /// Something other than a delimiter follows a closing quote.
    Broken,
}

/// Where the record at the beginning of `text`, which holds a newline, ends.
fn quoted_end(text: &[u8], Quoting { delimiter, quote }: Quoting) -> QuotedEnd {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() && *byte != delimiter && *byte != b'\n';
    let mut pos = text.iter().take_while(|byte| is_space(byte)).count();
    loop {
        if text.get(pos) == Some(&quote) {
            let Some(close) = closing_quote(text, pos + 1, quote) else { return QuotedEnd::Open };
            pos = close + 1;
            if text.get(pos).is_some_and(is_space) {
                pos += text[pos..].iter().take_while(|byte| is_space(byte)).count();
                // White space round a line is ignored, but not within it.
                if text.get(pos).is_some_and(|byte| *byte != b'\n') {
                    return QuotedEnd::Broken;
                }
            }
            match text.get(pos) {
                Some(byte) if *byte == delimiter => pos += 1,
                Some(b'\n') => return QuotedEnd::Newline(pos),
                None => return QuotedEnd::Text,
                Some(_) => return QuotedEnd::Broken,
            }
        } else {
            match memchr::memchr2(delimiter, b'\n', &text[pos..]) {
                Some(at) if text[pos + at] == delimiter => pos += at + 1,
                Some(at) => return QuotedEnd::Newline(pos + at),
                None => return QuotedEnd::Text,
            }
        }
    }
}

/// The position of the quote that closes the field whose inside begins at `pos`.
pub(super) fn closing_quote(text: &[u8], mut pos: usize, quote: u8) -> Option<usize> {
    loop {
        let at = pos + memchr(quote, &text[pos..])?;
        if text.get(at + 1) != Some(&quote) {
            return Some(at);
        }
        pos = at + 2;
    }
}

#[cfg(test)]
mod tests;
