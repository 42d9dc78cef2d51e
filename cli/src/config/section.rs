//! A table of a configuration, read key by key.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::value::{Raw, Value};

/// A table of the document; remembers which keys it was asked for, so that the others are unknown.
pub(super) struct Section<'t> {
    document: &'t Document<'t>,
    /// `None` where only the environment speaks of it.
    table: Option<&'t DeTable<'t>>,
    path: Vec<String>,
    line: usize,
    known: BTreeSet<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn new(
        document: &'t Document<'t>,
        table: Option<&'t DeTable<'t>>,
        path: Vec<String>,
        line: usize,
    ) -> Self {
        Self { document, table, path, line, known: BTreeSet::new() }
    }

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

    /// `true` or `false`; false where nothing (usable) was written.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.get(key).and_then(|value| value.bool()).unwrap_or(false)
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
        Some(Self::new(self.document, table, path, line))
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
            sections.push(Self::new(self.document, Some(table), path, line));
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
