//! Reading a TOML document key by key, so that every complaint names its key and its line, and all come at once.
//!
//! Not serde: its errors stop at the first, know no environment, and of an unknown key in a tagged enum not the line.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use neartime_model::{Classify, ErrorKind};
use toml::de::{DeTable, DeValue};

use super::environment::Environment;

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
    file: &'d str,
    text: &'d str,
    environment: &'d Environment,
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
        Section { document: self, table: Some(table), path: Vec::new(), line: 1, known: BTreeSet::new() }
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

    fn problem(&self, line: usize, problem: impl Into<String>) {
        self.problems.borrow_mut().push((line, problem.into()));
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count() + 1
    }
}

/// A table of the document; remembers which keys it was asked for, so that the others are unknown.
pub(super) struct Section<'t> {
    document: &'t Document<'t>,
    /// `None` where only the environment speaks of it.
    table: Option<&'t DeTable<'t>>,
    path: Vec<String>,
    line: usize,
    known: BTreeSet<&'static str>,
}

/// A key's value, wherever it comes from.
pub(super) struct Value<'t> {
    document: &'t Document<'t>,
    path: Vec<String>,
    line: usize,
    raw: Raw<'t>,
}

enum Raw<'t> {
    File(&'t DeValue<'t>),
    /// From this variable.
    Environment(&'t str, &'t str),
}

impl<'t> Section<'t> {
    /// The key's value, from the environment before the file.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.insert(key);
        let path = self.path_of(key);
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some((variable, text)) = self.document.environment.get(&parts) {
            return Some(Value { document: self.document, line: 0, path, raw: Raw::Environment(variable, text) });
        }
        let (spanned, value) = self.table?.get_key_value(key)?;
        let line = self.document.line_of(spanned.span().start);
        Some(Value { document: self.document, line, path, raw: Raw::File(value.get_ref()) })
    }

    /// Text, parsed by `T`.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        self.get(key)?.parsed()
    }

    /// Text as it stands.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.get(key)?.text()
    }

    /// Text, or a complaint that it is missing.
    pub(super) fn required_text(&mut self, key: &'static str) -> Option<String> {
        match self.get(key) {
            Some(value) => value.text(),
            None => self.missing(key),
        }
    }

    /// Text parsed by `T`, or a complaint that it is missing.
    pub(super) fn required<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        match self.get(key) {
            Some(value) => value.parsed(),
            None => self.missing(key),
        }
    }

    /// Complains that a key is missing.
    pub(super) fn missing<T>(&self, key: &str) -> Option<T> {
        self.problem(format!("{} needs a key `{key}`", self.name()));
        None
    }

    /// A table that may be absent.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'t>> {
        self.known.insert(key);
        let path = self.path_of(key);
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let (table, line) = match self.table.and_then(|table| table.get_key_value(key)) {
            Some((spanned, value)) => {
                let line = self.document.line_of(spanned.span().start);
                let table = value.get_ref().as_table();
                if table.is_none() {
                    self.document.problem(line, format!("`{}` must be a table", path.join(".")));
                }
                (table, line)
            }
            None if self.document.environment.has_below(&parts) => (None, self.line),
            None => return None,
        };
        Some(Section { document: self.document, table, path, line, known: BTreeSet::new() })
    }

    /// The elements of an array of tables; each is called by its `name` from here on.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'t>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Raw::File(DeValue::Array(array)) = value.raw else {
            value.problem(format!("must be written as [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for element in array {
            let line = self.document.line_of(element.span().start);
            let Some(table) = element.get_ref().as_table() else {
                self.document.problem(line, format!("each `{key}` must be a table"));
                continue;
            };
            let name = table.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or("?");
            let path = vec![key.to_owned(), name.to_owned()];
            sections.push(Section { document: self.document, table: Some(table), path, line, known: BTreeSet::new() });
        }
        sections
    }

    /// All entries of a table with free keys (columns, `select`), in the order in which they are written.
    pub(super) fn entries(self) -> Vec<(String, Value<'t>)> {
        let mut entries: Vec<_> = self.table.into_iter().flatten().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let value = |key: &str, span: usize, raw| {
            let mut path = self.path.clone();
            path.push(key.to_owned());
            Value { document: self.document, line: self.document.line_of(span), path, raw: Raw::File(raw) }
        };
        let entry = |(key, raw): (&'t toml::Spanned<_>, &'t toml::Spanned<DeValue<'t>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            (name.to_string(), value(name, key.span().start, raw.get_ref()))
        };
        entries.into_iter().map(entry).collect()
    }

    /// Complains of the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            if !self.known.contains(key.get_ref().as_ref()) {
                let line = self.document.line_of(key.span().start);
                let known = self.known.iter().copied().collect::<Vec<_>>().join(", ");
                let problem = format!("unknown key `{}` in {}; it may have {known}", key.get_ref(), self.name());
                self.document.problem(line, problem);
            }
        }
    }

    /// Complains of the table as a whole.
    pub(super) fn problem(&self, problem: impl Into<String>) {
        self.document.problem(self.line, problem);
    }

    /// Complains of the table after it has been read.
    pub(super) fn problem_later(&self) -> impl Fn(String) + 't {
        let (document, line) = (self.document, self.line);
        move |problem| document.problem(line, problem)
    }

    /// File and line.
    pub(super) fn place(&self) -> String {
        format!("{}, line {}", self.document.file, self.line)
    }

    /// How the table is written: `[run]`, `[[source]] horizontals`, `source.horizontals.sqs`.
    pub(super) fn name(&self) -> String {
        match self.path.as_slice() {
            [] => "the file".to_owned(),
            [section] => format!("[{section}]"),
            [array, name] => format!("[[{array}]] {name}"),
            path => path.join("."),
        }
    }

    fn path_of(&self, key: &str) -> Vec<String> {
        self.path.iter().cloned().chain([key.to_owned()]).collect()
    }
}

impl<'t> Value<'t> {
    /// Complains of the value, naming its key.
    pub(super) fn problem(&self, problem: impl Display) {
        match self.raw {
            Raw::File(_) => self.document.problem(self.line, format!("`{}` {problem}", self.path.join("."))),
            Raw::Environment(variable, _) => {
                self.document.problem(0, format!("environment variable {variable} {problem}"))
            }
        }
    }

    /// Text (a date without quotes counts as text), parsed by `T`.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self) -> Option<T> {
        self.parsed_by(str::parse)
    }

    /// Text, read by `parse`.
    pub(super) fn parsed_by<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        parse(&text).map_err(|error| self.problem(format!("cannot be used: {error}"))).ok()
    }

    /// Text as it stands.
    pub(super) fn text(&self) -> Option<String> {
        match self.raw {
            Raw::Environment(_, text) => Some(text.to_owned()),
            Raw::File(DeValue::String(text)) => Some(text.to_string()),
            Raw::File(DeValue::Datetime(instant)) => Some(instant.to_string()),
            Raw::File(other) => {
                self.problem(format!("must be text in quotes, not {}", article(other)));
                None
            }
        }
    }

    /// A whole number of at least `least`.
    pub(super) fn integer(&self, least: i64) -> Option<i64> {
        let number = match self.raw {
            Raw::Environment(_, text) => text.trim().parse().ok(),
            Raw::File(DeValue::Integer(number)) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            Raw::File(_) => None,
        };
        let number = number.filter(|&number| number >= least);
        if number.is_none() {
            self.problem(format!("must be a whole number of at least {least}"));
        }
        number
    }

    /// `true` or `false`.
    pub(super) fn bool(&self) -> Option<bool> {
        let value = match self.raw {
            Raw::Environment(_, text) => text.trim().parse().ok(),
            Raw::File(value) => value.as_bool(),
        };
        if value.is_none() {
            self.problem("must be true or false");
        }
        value
    }

    /// Whether it is written as a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.raw, Raw::File(DeValue::Array(_)))
    }

    /// Whether it is written as `true` or `false`.
    pub(super) fn is_bool(&self) -> bool {
        matches!(self.raw, Raw::File(DeValue::Boolean(_)))
    }

    /// A list of texts.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let Raw::File(DeValue::Array(array)) = self.raw else {
            self.problem("must be a list of texts, as [\"a\", \"b\"]");
            return None;
        };
        let texts: Option<Vec<_>> = array.iter().map(|text| text.get_ref().as_str().map(str::to_owned)).collect();
        if texts.is_none() {
            self.problem("must be a list of texts, as [\"a\", \"b\"]");
        }
        texts
    }

    /// A list of texts, or one text.
    pub(super) fn text_or_texts(&self) -> Option<Vec<String>> {
        if self.is_list() { self.texts() } else { Some(vec![self.text()?]) }
    }

    /// The table, if it is written as one.
    pub(super) fn as_section(&self) -> Option<Section<'t>> {
        let Raw::File(DeValue::Table(table)) = self.raw else { return None };
        let known = BTreeSet::new();
        Some(Section { document: self.document, table: Some(table), path: self.path.clone(), line: self.line, known })
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|&(_, choice)| choice);
        if found.is_none() {
            let allowed: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.problem(format!("is \"{text}\", which is none of {}", allowed.join(", ")));
        }
        found
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
