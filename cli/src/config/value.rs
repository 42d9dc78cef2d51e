//! One value of a configuration, and the complaints about it.

use std::fmt::Display;
use std::str::FromStr;

use toml::de::DeValue;

use super::document::Document;
use super::section::Section;

/// A key's value, wherever it comes from.
pub(super) struct Value<'t> {
    pub(super) document: &'t Document<'t>,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    pub(super) raw: Raw<'t>,
}

/// What was written, and where.
pub(super) enum Raw<'t> {
    File(&'t DeValue<'t>),
    /// From this variable.
    Environment(&'t str, &'t str),
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

    /// Where it is written: file and line, or the variable.
    pub(super) fn place(&self) -> String {
        match self.raw {
            Raw::File(_) => format!("{}, line {}", self.document.file, self.line),
            Raw::Environment(variable, _) => format!("environment variable {variable}"),
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

    /// A whole number of at least `least` that is stored in 32 bits.
    pub(super) fn count(&self, least: u32) -> Option<u32> {
        let count = u32::try_from(self.integer(least.into())?).ok();
        if count.is_none() {
            self.problem(format!("must be at most {}", u32::MAX));
        }
        count
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
        match self.raw {
            Raw::Environment(_, text) => text.trim().parse::<bool>().is_ok(),
            Raw::File(value) => value.as_bool().is_some(),
        }
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
        Some(Section::new(self.document, Some(table), self.path.clone(), self.line))
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
