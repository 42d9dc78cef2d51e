//! The matcher: a search with backtracking over the tokens of a layout.
//!
//! Hand-written, because what a regex cannot say (directives that agree, days that exist) has to take part in the
//! search, and because it has to be cheap for millions of keys: the usual layout is walked once, without allocating
//! more than the list of its captures.

use super::parse::{Directive, Token};
use super::time::{PartialTime, TimePart};

/// What was read of a key so far.
pub(super) struct Read<'k> {
    pub(super) time: PartialTime,
    /// By index of the capture; those that the search has not come to hold leftovers.
    pub(super) captures: Vec<&'k str>,
}

/// A search of one key.
pub(super) struct Search<'k> {
    key: &'k str,
    read: Read<'k>,
}

impl<'k> Search<'k> {
    pub(super) fn new(key: &'k str, captures: usize) -> Self {
        Self { key, read: Read { time: PartialTime::NOTHING, captures: vec![""; captures] } }
    }

    /// Whether the whole key matches `tokens` in a way that `accept` takes; ways are tried in order: a star takes as
    /// much as it can, a capture as little.
    pub(super) fn run(&mut self, tokens: &[Token], accept: &mut dyn FnMut(&Read<'k>) -> bool) -> bool {
        self.from(tokens, 0, accept)
    }

    pub(super) fn into_captures(self) -> Vec<&'k str> {
        self.read.captures
    }

    fn from(&mut self, mut tokens: &[Token], mut at: usize, accept: &mut dyn FnMut(&Read<'k>) -> bool) -> bool {
        while let [token, rest @ ..] = tokens {
            match token {
                Token::Text(text) if self.tail(at).starts_with(text.as_bytes()) => at += text.len(),
                Token::Slash if self.tail(at).first() == Some(&b'/') => at += 1,
                Token::Text(_) | Token::Slash => return false,
                Token::Time(Directive { part, padded: true }) => {
                    if !self.note(*part, at, part.digits()) {
                        return false;
                    }
                    at += part.digits();
                }
                Token::Time(Directive { part, padded: false }) => return self.unpadded(*part, rest, at, accept),
                Token::Star => return self.star(rest, at, accept),
                Token::Capture(index) => return self.capture(*index, rest, at, accept),
            }
            tokens = rest;
        }
        at == self.key.len() && accept(&self.read)
    }

    fn unpadded(
        &mut self,
        part: TimePart,
        rest: &[Token],
        at: usize,
        accept: &mut dyn FnMut(&Read<'k>) -> bool,
    ) -> bool {
        let before = self.read.time;
        for digits in [2, 1] {
            let padded = digits == 2 && self.tail(at).first() == Some(&b'0');
            if !padded && self.note(part, at, digits) && self.from(rest, at + digits, accept) {
                return true;
            }
            self.read.time = before;
        }
        false
    }

    fn star(&mut self, rest: &[Token], at: usize, accept: &mut dyn FnMut(&Read<'k>) -> bool) -> bool {
        let before = self.read.time;
        for end in (at..=self.name_end(at)).rev() {
            if self.may_begin(rest, end) && self.from(rest, end, accept) {
                return true;
            }
            self.read.time = before;
        }
        false
    }

    fn capture(&mut self, index: usize, rest: &[Token], at: usize, accept: &mut dyn FnMut(&Read<'k>) -> bool) -> bool {
        let before = self.read.time;
        for end in at + 1..=self.name_end(at) {
            if self.may_begin(rest, end) {
                self.read.captures[index] = &self.key[at..end];
                if self.from(rest, end, accept) {
                    return true;
                }
                self.read.time = before;
            }
        }
        false
    }

    /// Whether `tokens` may match from `at` on: a cheap test, before the search goes there.
    fn may_begin(&self, tokens: &[Token], at: usize) -> bool {
        match tokens.first() {
            None => at == self.key.len(),
            Some(Token::Text(text)) => self.tail(at).starts_with(text.as_bytes()),
            Some(Token::Slash) => self.tail(at).first() == Some(&b'/'),
            Some(Token::Time(_)) => self.tail(at).first().is_some_and(u8::is_ascii_digit),
            Some(Token::Star | Token::Capture(_)) => self.key.is_char_boundary(at),
        }
    }

    /// Reads the digits of a part; false where there are none, or none that can be.
    fn note(&mut self, part: TimePart, at: usize, digits: usize) -> bool {
        let Some(text) = self.tail(at).get(..digits).filter(|text| text.iter().all(u8::is_ascii_digit)) else {
            return false;
        };
        let value = text.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
        self.read.time.note(part, value)
    }

    /// Where the name that `at` lies in ends.
    fn name_end(&self, at: usize) -> usize {
        memchr::memchr(b'/', self.tail(at)).map_or(self.key.len(), |slash| at + slash)
    }

    fn tail(&self, at: usize) -> &'k [u8] {
        &self.key.as_bytes()[at..]
    }
}
