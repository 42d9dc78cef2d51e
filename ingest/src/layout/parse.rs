//! From the text of a layout to its tokens.

use neartime_model::{Classify, ErrorKind};

use super::time::TimePart;
use super::{Layout, RESERVED, is_hidden};

/// A piece of a layout. Only a slash matches a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Literal text without a slash.
    Text(String),
    Slash,
    Time(Directive),
    /// Any characters, also none.
    Star,
    /// One or more characters, kept under the index of its name.
    Capture(usize),
}

/// `%m` (padded) or `%-m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) part: TimePart,
    pub(super) padded: bool,
}

/// A layout that cannot be used, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the layout `{layout}` cannot be used: {reason}")]
pub struct LayoutError {
    layout: String,
    reason: String,
}

impl LayoutError {
    pub(super) fn new(layout: &str, reason: impl Into<String>) -> Self {
        Self { layout: layout.to_owned(), reason: reason.into() }
    }
}

impl Classify for LayoutError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

pub(super) fn layout(text: &str) -> Result<Layout, LayoutError> {
    let error = |reason: String| LayoutError::new(text, reason);
    let mut reader = Reader::default();
    reader.read(text).map_err(error)?;
    let Reader { tokens, captures, .. } = reader;
    check_names(&tokens).map_err(error)?;
    let finest = check_time(&tokens).map_err(error)?;
    let path_tokens = tokens.iter().position(|token| matches!(token, Token::Time(_))).unwrap_or(tokens.len());
    let path_captures = tokens[..path_tokens].iter().filter(|token| matches!(token, Token::Capture(_))).count();
    Ok(Layout { text: text.to_owned(), tokens, captures, path_captures, path_tokens, finest })
}

/// Collects tokens and the names of captures.
#[derive(Default)]
struct Reader {
    tokens: Vec<Token>,
    captures: Vec<String>,
    literal: String,
}

impl Reader {
    fn read(&mut self, text: &str) -> Result<(), String> {
        let mut rest = text.char_indices();
        while let Some((at, character)) = rest.next() {
            match character {
                '%' => self.directive(&mut rest).map_err(|reason| at_character(text, at, &reason))?,
                '{' => {
                    let after = &text[at + 1..];
                    let name = after.find('}').map(|end| &after[..end]);
                    self.capture(name).map_err(|reason| at_character(text, at, &reason))?;
                    rest.by_ref().find(|(_, character)| *character == '}');
                }
                '}' => return Err(at_character(text, at, "`}` closes nothing")),
                '*' if self.literal.is_empty() && self.tokens.last() == Some(&Token::Star) => {}
                '*' => self.push(Token::Star),
                '/' => self.push(Token::Slash),
                other => self.literal.push(other),
            }
        }
        self.end_literal();
        Ok(())
    }

    fn directive(&mut self, rest: &mut std::str::CharIndices<'_>) -> Result<(), String> {
        let mut letter = rest.next().map(|(_, letter)| letter);
        if letter == Some('%') {
            self.literal.push('%');
            return Ok(());
        }
        let padded = letter != Some('-');
        if !padded {
            letter = rest.next().map(|(_, letter)| letter);
        }
        let unpadded_too = |part: &TimePart| matches!(part, TimePart::Month | TimePart::Day | TimePart::Hour);
        let part = letter.and_then(TimePart::of_letter).filter(|part| padded || unpadded_too(part));
        let Some(part) = part else {
            let written: String = ['%'].into_iter().chain((!padded).then_some('-')).chain(letter).collect();
            return Err(format!(
                "`{written}` is no directive: take %Y %m %d %H %M %S, %-m %-d %-H, or %% for a percent sign"
            ));
        };
        self.push(Token::Time(Directive { part, padded }));
        Ok(())
    }

    fn capture(&mut self, name: Option<&str>) -> Result<(), String> {
        let name = name.ok_or("`{` is never closed")?;
        if name.is_empty() || name.contains(['/', '{', '%', '*']) {
            return Err(format!("`{{{name}}}` is no capture: write a name between the braces"));
        }
        if name == RESERVED {
            return Err(format!("no capture may be named `{RESERVED}`: every source has a column of that name"));
        }
        if self.captures.iter().any(|known| known == name) {
            return Err(format!("the capture `{name}` stands twice"));
        }
        self.push(Token::Capture(self.captures.len()));
        self.captures.push(name.to_owned());
        Ok(())
    }

    fn push(&mut self, token: Token) {
        self.end_literal();
        self.tokens.push(token);
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.tokens.push(Token::Text(std::mem::take(&mut self.literal)));
        }
    }
}

fn at_character(text: &str, at: usize, reason: &str) -> String {
    format!("at character {}, {reason}", text[..at].chars().count() + 1)
}

/// Every name between slashes must be able to match a file or folder that is looked at.
fn check_names(tokens: &[Token]) -> Result<(), String> {
    for name in tokens.split(|token| *token == Token::Slash) {
        match name.first() {
            None => return Err("it has an empty name: no slash at either end, nor two in a row".to_owned()),
            Some(Token::Text(text)) if is_hidden(text) => {
                return Err(format!("files and folders like `{text}`, that begin with `.` or `_`, are skipped"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// A layout tells a time without gaps, down to the day at least; the result is its finest part.
fn check_time(tokens: &[Token]) -> Result<TimePart, String> {
    let named = |part: TimePart| tokens.iter().any(|token| matches!(token, Token::Time(time) if time.part == part));
    let finest = TimePart::ALL.into_iter().rev().find(|part| named(*part));
    let finest = finest.ok_or("it names no time: take %Y %m %d %H %M %S")?;
    let needed = finest.max(TimePart::Day);
    match TimePart::ALL.into_iter().find(|part| *part <= needed && !named(*part)) {
        Some(missing) => Err(format!("the {} (%{}) is missing in its time", missing.name(), missing.letter())),
        None => Ok(finest),
    }
}
