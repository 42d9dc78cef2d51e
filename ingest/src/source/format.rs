//! Formats: how a line becomes fields.

use regex::bytes::{Regex, RegexBuilder};

use super::column::{Column, ColumnKind, InvalidColumn, TimeUnit};

/// How the lines of a source are built.
#[derive(Clone, Debug)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Fields between delimiters.
    Delimited(Delimited),
    /// A regular expression with named groups.
    Pattern(Pattern),
}

/// Fields between delimiters, quoted as in RFC 4180.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delimited {
    delimiter: u8,
    quote: Option<u8>,
    header: Header,
}

/// Where a delimited file's names come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// From the first line of each file.
    #[default]
    FirstLine,
    /// From the configuration: the files have no such line.
    Names(Vec<String>),
}

/// A regular expression whose named groups are fields, or one of the web server formats.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    /// The same expression byte by byte, for lines that are no UTF-8; `None` where it cannot be built.
    bytewise: Option<Regex>,
    apache: bool,
}

/// A format that means nothing, with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFormat(String);

impl Format {
    /// Checks that `column` can come from this format, and gives an Apache log's time its pattern.
    pub(crate) fn check_column(&self, column: &mut Column) -> Result<(), InvalidColumn> {
        let unknown = |what: &str, field: &str| {
            Err(InvalidColumn(format!("the column `{}` takes `{field}`, which is no {what}", column.name)))
        };
        match self {
            Self::Json => Ok(()),
            Self::Delimited(delimited) => match (&delimited.header, column.field_name()?) {
                (Header::Names(names), field) if !names.iter().any(|name| name == field) => {
                    unknown("name of the header", field)
                }
                _ => Ok(()),
            },
            Self::Pattern(pattern) => {
                let field = column.field_name()?;
                if pattern.group(field).is_none() {
                    return unknown("named group of the pattern", field);
                }
                pattern.set_time_unit(column);
                Ok(())
            }
        }
    }
}

impl Delimited {
    /// Reads the delimiter and the quote from the configuration: one ASCII character each; `quote = ""` switches
    /// quoting off.
    pub fn new(delimiter: &str, quote: &str, header: Header) -> Result<Self, InvalidFormat> {
        let one = |what: &str, text: &str| match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
            _ => Err(InvalidFormat(format!("the {what} `{text}` is not one ASCII character"))),
        };
        let delimiter = one("delimiter", delimiter)?;
        let quote = if quote.is_empty() { None } else { Some(one("quote", quote)?) };
        if quote == Some(delimiter) {
            return Err(InvalidFormat("delimiter and quote are the same character".to_owned()));
        }
        match &header {
            Header::Names(names) if names.is_empty() => {
                Err(InvalidFormat("header is an empty list: write true or the names".to_owned()))
            }
            _ => Ok(Self { delimiter, quote, header }),
        }
    }

    /// The byte between fields.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The byte around quoted fields.
    pub fn quote(&self) -> Option<u8> {
        self.quote
    }

    /// Where the names come from.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// The request line is split where it has the usual three parts; a quote inside a field is escaped by a backslash.
const APACHE_COMMON: &str = r#"^(?<host>\S+) (?<ident>\S+) (?<user>.+?) \[(?<time>[^\]]*)\] "(?<request>(?:(?<method>[A-Za-z]+) (?<path>(?:[^ "\\]|\\[^ ])+)(?: (?<protocol>[^ "]+))?)|(?:[^"\\]|\\.)*)" (?<status>\S+) (?<bytes>\S+)"#;
const APACHE_COMBINED_TAIL: &str = r#" "(?<referer>(?:[^"\\]|\\.)*)" "(?<user_agent>(?:[^"\\]|\\.)*)""#;
const APACHE_TIME: &str = "%d/%b/%Y:%H:%M:%S %z";

/// Other names under which the Apache fields are known.
const APACHE_ALIASES: [(&str, &str); 16] = [
    ("remote_host", "host"),
    ("client", "host"),
    ("ip", "host"),
    ("logname", "ident"),
    ("auth_user", "user"),
    ("remote_user", "user"),
    ("timestamp", "time"),
    ("request_line", "request"),
    ("verb", "method"),
    ("url", "path"),
    ("uri", "path"),
    ("size", "bytes"),
    ("body_bytes", "bytes"),
    ("referrer", "referer"),
    ("agent", "user_agent"),
    ("useragent", "user_agent"),
];

impl Pattern {
    /// Reads `apache_common`, `apache_combined` or a regular expression with named groups, which must match a whole
    /// line only if it says so (`^…$`).
    ///
    /// The Apache formats have the groups host, ident, user, time, request (split into method, path, protocol),
    /// status, bytes, and combined also referer, user_agent; a field `-` is null, and a timestamp taken from `time`
    /// needs no unit.
    pub fn new(text: &str) -> Result<Self, InvalidFormat> {
        let (expression, apache) = match text {
            "apache_common" => (format!("{APACHE_COMMON}$"), true),
            "apache_combined" => (format!("{APACHE_COMMON}{APACHE_COMBINED_TAIL}$"), true),
            expression => (expression.to_owned(), false),
        };
        let build = |unicode| RegexBuilder::new(&expression).unicode(unicode).build();
        let regex =
            build(true).map_err(|error| InvalidFormat(format!("the pattern is no regular expression: {error}")))?;
        if regex.capture_names().flatten().next().is_none() {
            return Err(InvalidFormat(
                "the pattern has no named groups: write (?<name>…) around each field".to_owned(),
            ));
        }
        Ok(Self { regex, bytewise: build(false).ok(), apache })
    }

    /// Whether `line` is one of this pattern's.
    pub fn matches(&self, line: &[u8]) -> bool {
        self.regex.is_match(line)
    }

    /// The expression over text.
    pub(crate) fn regex(&self) -> &Regex {
        &self.regex
    }

    /// The expression for lines that are no UTF-8, where it can be built.
    pub(crate) fn bytewise(&self) -> Option<&Regex> {
        self.bytewise.as_ref()
    }

    /// Whether `-` stands for a missing field.
    pub(crate) fn dash_is_null(&self) -> bool {
        self.apache
    }

    /// The position of the group that holds `field`.
    pub(crate) fn group(&self, field: &str) -> Option<usize> {
        let position = |name: &str| self.regex.capture_names().position(|group| group == Some(name));
        position(field).or_else(|| position(self.resolve(field)))
    }

    fn resolve<'a>(&self, field: &'a str) -> &'a str {
        let alias = APACHE_ALIASES.iter().find(|(alias, _)| self.apache && *alias == field);
        alias.map_or(field, |(_, group)| group)
    }

    /// An Apache log's time is never ISO 8601, so the default unit stands for its own pattern.
    fn set_time_unit(&self, column: &mut Column) {
        let is_time = column.field_name().is_ok_and(|field| self.resolve(field) == "time");
        match &mut column.kind {
            ColumnKind::Timestamp { unit, .. } if self.apache && is_time && *unit == TimeUnit::Iso => {
                *unit = TimeUnit::Strftime(APACHE_TIME.to_owned());
            }
            _ => {}
        }
    }
}
