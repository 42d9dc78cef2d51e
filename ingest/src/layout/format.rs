//! From a time and captures to a key: how `import` names its files.

use std::fmt::Write as _;

use neartime_model::{Classify, ErrorKind, Instant};

use super::Layout;
use super::parse::Token;
use super::time::PartialTime;

/// Captures and a time that no key of the layout can tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no key of the layout `{layout}` can tell {at} and the captures {captures:?}: {reason}")]
pub struct FormatError {
    layout: String,
    at: Instant,
    captures: Vec<String>,
    reason: &'static str,
}

impl Classify for FormatError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Layout {
    /// Whether the layout has a `*`, so that [`Layout::format_key`] can give any number of names to one time.
    pub fn has_free_text(&self) -> bool {
        self.tokens.contains(&Token::Star)
    }

    /// Writes a key whose match gives back `captures` (path captures first, then row captures, in their order) and
    /// `at`, cut to the layout's finest part.
    ///
    /// `free` fills the last `*` of the layout; it must not be empty nor hold a slash. Other stars are left empty, or
    /// hold `free` too where a name would else be empty. An error where no such key exists: a capture that is empty,
    /// holds a slash or would be split elsewhere by the match, or a year beyond 9999.
    pub fn format_key(&self, captures: &[&str], at: Instant, free: &str) -> Result<String, FormatError> {
        let error = |reason| FormatError {
            layout: self.to_string(),
            at,
            captures: captures.iter().map(|&capture| capture.to_owned()).collect(),
            reason,
        };
        if captures.len() != self.captures.len() {
            return Err(error("each capture of the layout needs a value"));
        }
        let time = PartialTime::of(at).ok_or_else(|| error("the year has no four digits"))?;
        let key = self.fill(captures, &time, free);
        let finest = self.finest.seconds();
        let cut = Instant::from_secs(at.as_secs().div_euclid(finest) * finest);
        let matched = self.match_key(&key).ok_or_else(|| error("the key would not match"))?;
        let read_back = matched.path_captures.iter().chain(&matched.row_captures);
        if matched.at == cut && read_back.eq(captures) {
            Ok(key)
        } else {
            Err(error("the key would be read in another way"))
        }
    }

    fn fill(&self, captures: &[&str], time: &PartialTime, free: &str) -> String {
        let last_star = self.tokens.iter().rposition(|token| *token == Token::Star);
        let mut key = String::new();
        for (index, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Text(text) => key.push_str(text),
                Token::Slash => key.push('/'),
                Token::Capture(capture) => key.push_str(captures[*capture]),
                Token::Star if Some(index) == last_star || self.is_whole_name(index) => key.push_str(free),
                Token::Star => {}
                Token::Time(directive) => {
                    let value = time.get(directive.part);
                    let digits = if directive.padded { directive.part.digits() } else { 1 };
                    write!(key, "{value:0digits$}").expect("writing to a String cannot fail");
                }
            }
        }
        key
    }

    /// Whether the token at `index` stands alone between slashes.
    fn is_whole_name(&self, index: usize) -> bool {
        let edge = |token: Option<&Token>| token.is_none_or(|token| *token == Token::Slash);
        edge(index.checked_sub(1).and_then(|before| self.tokens.get(before))) && edge(self.tokens.get(index + 1))
    }
}
