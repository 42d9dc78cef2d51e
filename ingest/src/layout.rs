//! Layouts: what the key of a file tells about its path, its captures and its time.
//!
//! A [`Layout`] is the parsed `layout` of a source, as `{brand}/{platform}/%Y/%m/%d/%Y%m-%d-%H%M%S.gz`. It reads keys
//! ([`Layout::match_key`]), tells which folders may hold files of a range of time, and writes keys
//! ([`Layout::format_key`]). It knows no files: listing is the work of `discover`.

mod bounds;
mod format;
mod matching;
mod parse;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use neartime_model::{Instant, Span};

pub(crate) use bounds::{FolderMatch, TimeRange};
pub use format::FormatError;
pub use parse::LayoutError;

use matching::Search;
use parse::Token;
use time::TimePart;

/// The name that a capture may not have, because every source has a column of that name.
const RESERVED: &str = "data_chunk";

/// The parsed layout of a source.
///
/// | in the layout | matches |
/// |---|---|
/// | `%Y` | four digits; `%m %d %H %M %S`: two digits of a month, day, hour, minute, second that exists |
/// | `%-m %-d %-H` | the same number without a leading zero |
/// | `*` | any characters but `/`, also none; kept nowhere |
/// | `{x}` | one or more characters but `/`, as few as fit |
/// | `%%` | a percent sign |
///
/// A directive that stands twice must agree. Days that do not exist match nothing. **Invariant:** a key with a name
/// that begins with `.` or `_` never matches.
///
/// ```
/// use neartime_ingest::Layout;
/// let layout = Layout::parse("{brand}/{platform}/%Y/%m/%d/%Y%m-%d-%H%M%S.gz")?;
/// let matched = layout.match_key("olx/android/2018/08/01/201808-01-104234.gz").expect("a file of the seed");
/// assert_eq!(matched.path_captures, ["olx", "android"]);
/// assert_eq!(matched.at.to_string(), "2018-08-01T10:42:34Z");
/// assert_eq!(layout.path_part(&matched.path_captures), "olx/android/");
/// # Ok::<(), neartime_ingest::LayoutError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    text: String,
    tokens: Vec<Token>,
    /// Captures in the order of the layout; the first `path_captures` of them stand before the first directive.
    captures: Vec<String>,
    path_captures: usize,
    /// How many tokens stand before the first directive.
    path_tokens: usize,
    finest: TimePart,
}

/// What a key tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<'k> {
    /// Values of the captures before the first time directive, in their order.
    pub path_captures: Vec<&'k str>,
    /// Values of the captures after the first time directive, in their order.
    pub row_captures: Vec<&'k str>,
    /// The time in the key; parts finer than the layout's finest are zero.
    pub at: Instant,
}

impl Layout {
    /// Reads a layout; the error names the character that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, LayoutError> {
        parse::layout(text)
    }

    /// How long the finest time is that the layout tells, at least: a source's chunks must not be shorter.
    pub fn finest(&self) -> Span {
        Span::from_secs(self.finest.seconds())
    }

    /// Names of the captures before the first time directive: they tell one path from another.
    pub fn path_captures(&self) -> impl ExactSizeIterator<Item = &str> {
        self.captures[..self.path_captures].iter().map(String::as_str)
    }

    /// Names of the captures after the first time directive: text columns only.
    pub fn row_captures(&self) -> impl ExactSizeIterator<Item = &str> {
        self.captures[self.path_captures..].iter().map(String::as_str)
    }

    /// What `key` (a key below the location) tells, or `None` where it is not of this layout.
    pub fn match_key<'k>(&self, key: &'k str) -> Option<Matched<'k>> {
        if !self.could_match(key) || has_hidden_name(key) {
            return None;
        }
        let mut at = None;
        let mut search = Search::new(key, self.captures.len());
        let found = search.run(&self.tokens, &mut |read| {
            at = read.time.instant();
            at.is_some()
        });
        if !found {
            return None;
        }
        let mut path_captures = search.into_captures();
        let row_captures = path_captures.split_off(self.path_captures);
        Some(Matched { path_captures, row_captures, at: at.expect("the search accepted an instant") })
    }

    /// The file path below the location: the layout down to its first time directive, captures filled in; a `*` in
    /// there stays a `*`, because the files of all its values make one path.
    pub fn path_part<C: AsRef<str>>(&self, path_captures: &[C]) -> String {
        let mut part = String::new();
        for token in &self.tokens[..self.path_tokens] {
            match token {
                Token::Text(text) => part.push_str(text),
                Token::Slash => part.push('/'),
                Token::Star => part.push('*'),
                Token::Capture(index) => part.push_str(path_captures[*index].as_ref()),
                Token::Time(_) => unreachable!("directives stand after the path"),
            }
        }
        part
    }

    /// Whether every capture stands after the last time directive.
    pub(crate) fn captures_follow_time(&self) -> bool {
        let last_time = self.tokens.iter().rposition(|token| matches!(token, Token::Time(_)));
        let first_capture = self.tokens.iter().position(|token| matches!(token, Token::Capture(_)));
        first_capture.is_none_or(|capture| last_time.is_none_or(|time| time < capture))
    }

    /// Refuses most foreign keys at the price of two comparisons.
    fn could_match(&self, key: &str) -> bool {
        let begins = |text: &str| key.starts_with(text);
        let ends = |text: &str| key.ends_with(text);
        !matches!(self.tokens.first(), Some(Token::Text(text)) if !begins(text))
            && !matches!(self.tokens.last(), Some(Token::Text(text)) if !ends(text))
    }
}

/// The layout as it is written.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Whether some name in `key` begins with `.` or `_`: files of others at work, markers, checkpoints.
pub(crate) fn has_hidden_name(key: &str) -> bool {
    key.split('/').any(is_hidden)
}

/// Whether one file's or folder's name begins with `.` or `_`.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}
