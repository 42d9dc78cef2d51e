//! Names of imported files: which content they come from, and where the layout has room for them.

use std::collections::BTreeMap;
use std::fmt;

use neartime_model::{Chunk, Instant, Span};

use super::ImportError;
use crate::layout::Layout;
use crate::source::{self, Source};

/// Begins the name and the gzip comment of imported content; a letter, so that no unpadded directive takes the digits.
const MARK: char = 'i';

/// What tells one input's content from another: a hash of its inflated lines, the same on every machine.
///
/// Multiply-and-fold over words of eight bytes; it is made for telling files apart, not against forgery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentId(u64);

impl Default for ContentId {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl ContentId {
    pub(super) fn add(&mut self, line: &[u8]) {
        let mut words = line.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let mut rest = [0; 8];
        rest[..words.remainder().len()].copy_from_slice(words.remainder());
        self.mix(u64::from_le_bytes(rest));
        self.mix(line.len() as u64);
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0xa076_1d64_78bd_642f_u128;
        let folded = (product >> 64) as u64 ^ product as u64;
        self.0 = folded.rotate_left(23).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
}

/// Seventeen characters of a name: `i` and sixteen hexadecimal digits.
impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{:016x}", self.0)
    }
}

/// Characters of a [`ContentId`] in a name.
pub(super) const CONTENT_CHARACTERS: usize = 17;

/// Whether this is what the names of some import's files have in common.
pub(super) fn is_content(text: &str) -> bool {
    let digits = text.strip_prefix(MARK);
    text.len() == CONTENT_CHARACTERS
        && digits.is_some_and(|digits| digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
}

/// The names that a layout has for imported files.
pub(super) struct Names<'a> {
    layout: &'a Layout,
    captures: Vec<&'a str>,
}

impl<'a> Names<'a> {
    /// With a value for each capture; the error tells which is missing or unknown.
    pub(super) fn new(source: &'a Source, values: &'a BTreeMap<String, String>) -> Result<Self, String> {
        let layout = &source.layout;
        if let Some(unknown) = values.keys().find(|name| !source::captures(layout).any(|capture| capture == *name)) {
            return Err(format!("its layout `{layout}` has no capture `{unknown}`"));
        }
        let value = |name: &str| match values.get(name) {
            Some(value) => Ok(value.as_str()),
            None => Err(format!("its layout `{layout}` needs a value for `{{{name}}}`: give one with --set {name}=…")),
        };
        let captures = source::captures(layout).map(value).collect::<Result<_, _>>()?;
        Ok(Self { layout, captures })
    }

    /// The name of content in a chunk, and where in it the content is told; `None` where names do not tell it.
    pub(super) fn telling(&self, chunk: Chunk, content: ContentId) -> Option<(String, usize)> {
        if !self.layout.has_free_text() {
            return None;
        }
        let free = content.to_string();
        let key = self.layout.format_key(&self.captures, chunk.start(), &free).ok()?;
        let at = key.find(&free)?;
        Some((key, at))
    }

    /// How many names there are for a chunk.
    pub(super) fn count(&self, chunk: Chunk) -> i64 {
        if self.layout.has_free_text() {
            1
        } else {
            chunk.width().span().as_micros() / self.layout.finest().as_micros()
        }
    }

    /// The names for content in a chunk, in the order in which they are to be tried: the same for the same content.
    pub(super) fn candidates(
        &self,
        chunk: Chunk,
        content: ContentId,
    ) -> impl Iterator<Item = Result<String, ImportError>> {
        let (count, free) = (self.count(chunk), content.to_string());
        let first = i64::try_from(content.0 % count.unsigned_abs()).expect("less than a chunk's seconds");
        (0..count).map(move |step| {
            let slot = if self.layout.has_free_text() { 0 } else { (first + step) % count };
            let at = chunk.start() + Span::from_micros(slot * self.layout.finest().as_micros());
            Ok(self.layout.format_key(&self.captures, at, &free)?)
        })
    }
}

/// Whether four digits can write the year.
pub(super) fn has_four_digits(at: Instant) -> bool {
    use chrono::Datelike;
    at.to_utc().is_some_and(|utc| (0..=9_999).contains(&utc.year()))
}
