//! Reading a TOML document key by key, so that every complaint names its key and its line, and all come at once.
//!
//! Not serde: its errors stop at the first, know no environment, and of an unknown key in a tagged enum not the line.

use std::cell::RefCell;

use neartime_model::{Classify, ErrorKind};
use toml::de::DeTable;

use super::environment::Environment;
use super::section::Section;

/// Everything that is wrong with a configuration; its text has a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    problems: Vec<String>,
}

impl std::error::Error for ConfigError {}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl Classify for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl ConfigError {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }
}

/// A document being read, and what was found wrong so far.
pub(super) struct Document<'d> {
    pub(super) file: &'d str,
    text: &'d str,
    pub(super) environment: &'d Environment,
    problems: RefCell<Vec<(usize, String)>>,
}

impl<'d> Document<'d> {
    pub(super) fn new(file: &'d str, text: &'d str, environment: &'d Environment) -> Self {
        Self { file, text, environment, problems: RefCell::default() }
    }

    /// Parses the text; the message of a syntax error never quotes it, for it may hold a password.
    pub(super) fn parse(&self) -> Result<DeTable<'d>, ConfigError> {
        DeTable::parse(self.text).map(toml::Spanned::into_inner).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line_of(span.start));
            self.problem(line, error.message());
            self.take_error()
        })
    }

    /// The document's own level.
    pub(super) fn root<'t>(&'t self, table: &'t DeTable<'d>) -> Section<'t> {
        Section::new(self, Some(table), Vec::new(), 1)
    }

    /// Ends the reading: the value if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        for variable in self.environment.unused() {
            self.problem(0, format!("environment variable {variable} names no key of the configuration"));
        }
        match value {
            Some(value) if self.problems.borrow().is_empty() => Ok(value),
            _ => Err(self.take_error()),
        }
    }

    fn take_error(&self) -> ConfigError {
        let mut problems = self.problems.take();
        problems.sort();
        problems.dedup();
        let text = |(line, problem): (usize, String)| match line {
            0 => problem,
            line => format!("{}, line {line}: {problem}", self.file),
        };
        ConfigError { problems: problems.into_iter().map(text).collect() }
    }

    /// Notes what is wrong in `line`; 0 for what is not in the file.
    pub(super) fn problem(&self, line: usize, problem: impl Into<String>) {
        self.problems.borrow_mut().push((line, problem.into()));
    }

    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count() + 1
    }
}
