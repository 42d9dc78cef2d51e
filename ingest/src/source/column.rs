//! Columns: what a value is called, where in the line it stands, and what it may hold.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit as ArrowUnit};

use crate::values::TimeReader;

/// One column of `[source.columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, any text: dots, spaces and upper case stand for themselves.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Where in a line it stands.
    pub origin: Origin,
}

/// Where a column's value stands in a line: its `from`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Under the column's own name, taken literally, dots included.
    #[default]
    Name,
    /// `from = "ctx.url"` walks objects, `from = "items[].sku"` the elements of a list too. In formats without
    /// objects it is the field's name, taken literally.
    Path(String),
    /// `from = ["id.orig_h"]`: each step taken literally.
    Steps(Vec<String>),
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnKind {
    /// Text; numbers and booleans as written, objects and arrays as their JSON text. Utf8View.
    String,
    /// A whole number of 64 bits. Int64.
    Int,
    /// A finite number. Float64.
    Float,
    /// A truth value. Boolean.
    Bool,
    /// An instant. TIMESTAMP(ms, UTC), floored.
    Timestamp {
        /// How it is written.
        unit: TimeUnit,
        /// Where it was written, for text without an offset.
        zone: Zone,
    },
    /// A list of texts; a single value is a list of one. List<Utf8View>.
    ListString,
}

/// How a timestamp is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds since the epoch, fractions allowed.
    Secs,
    /// Milliseconds since the epoch, fractions allowed.
    Millis,
    /// Microseconds since the epoch, fractions allowed.
    Micros,
    /// ISO 8601: `T` or space, any number of digits, an offset or none; a date alone is midnight.
    #[default]
    Iso,
    /// A strftime pattern, as `%d/%b/%Y:%H:%M:%S %z`.
    Strftime(String),
}

/// A time zone: an offset (`+02:00`) or a name (`Europe/Berlin`); UTC unless said.
#[derive(Clone, Debug, Default)]
pub struct Zone(Option<NamedZone>);

/// A zone other than UTC, as written and as Arrow knows it.
#[derive(Clone, Debug)]
struct NamedZone {
    name: String,
    tz: Tz,
}

/// A column that means nothing, with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidColumn(pub(crate) String);

impl Column {
    /// A column that stands under its own name.
    pub fn new(name: impl Into<String>, kind: ColumnKind) -> Self {
        Self { name: name.into(), kind, origin: Origin::Name }
    }

    /// The same column, found elsewhere in the line.
    pub fn from(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Checks the pattern of a timestamp and the path of its origin.
    pub(crate) fn check(&self) -> Result<(), InvalidColumn> {
        let name = &self.name;
        if let ColumnKind::Timestamp { unit: TimeUnit::Strftime(pattern), .. } = &self.kind {
            let refused = |advice| InvalidColumn(format!("the column `{name}` has the unit `{pattern}`: {advice}"));
            TimeReader::check(pattern).map_err(refused)?;
        }
        let empty = match &self.origin {
            Origin::Name => false,
            Origin::Path(path) => path.split('.').any(|step| step.trim_end_matches("[]").is_empty()),
            Origin::Steps(steps) => steps.is_empty(),
        };
        if empty {
            return Err(InvalidColumn(format!("the column `{name}` has an empty step in its `from`")));
        }
        let walks_list = matches!(&self.origin, Origin::Path(path) if path.contains("[]"));
        if walks_list && self.kind != ColumnKind::ListString {
            return Err(InvalidColumn(format!(
                "the column `{name}` takes its values from a list: its type must be list<string>"
            )));
        }
        Ok(())
    }

    /// The name of its field in a format without objects.
    pub(crate) fn field_name(&self) -> Result<&str, InvalidColumn> {
        match &self.origin {
            Origin::Name => Ok(&self.name),
            Origin::Path(path) => Ok(path),
            Origin::Steps(steps) => match steps.as_slice() {
                [field] => Ok(field),
                _ => Err(InvalidColumn(format!(
                    "the column `{}` walks objects, which only format = \"json\" has",
                    self.name
                ))),
            },
        }
    }
}

/// The type of every instant here: TIMESTAMP(ms, UTC).
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(ArrowUnit::Millisecond, Some(Arc::from("UTC")))
}

impl ColumnKind {
    /// A timestamp in ISO 8601, UTC unless it says otherwise.
    pub fn iso() -> Self {
        Self::Timestamp { unit: TimeUnit::Iso, zone: Zone::UTC }
    }

    /// A timestamp in `unit`, UTC unless it says otherwise.
    pub fn timestamp(unit: TimeUnit) -> Self {
        Self::Timestamp { unit, zone: Zone::UTC }
    }

    /// Its Arrow type.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::String => DataType::Utf8View,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Timestamp { .. } => timestamp_type(),
            Self::ListString => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))),
        }
    }
}

/// Reads `string`, `int`, `float`, `bool`, `timestamp` (ISO 8601) or `list<string>`.
impl FromStr for ColumnKind {
    type Err = InvalidColumn;
    fn from_str(text: &str) -> Result<Self, InvalidColumn> {
        match text {
            "string" => Ok(Self::String),
            "int" => Ok(Self::Int),
            "float" => Ok(Self::Float),
            "bool" => Ok(Self::Bool),
            "timestamp" => Ok(Self::iso()),
            "list<string>" => Ok(Self::ListString),
            _ => Err(InvalidColumn(format!(
                "`{text}` is no type of a column: write string, int, float, bool, timestamp or list<string>"
            ))),
        }
    }
}

/// Reads `s`, `ms`, `us`, `iso` or a strftime pattern.
impl FromStr for TimeUnit {
    type Err = InvalidColumn;
    fn from_str(text: &str) -> Result<Self, InvalidColumn> {
        match text {
            "s" => Ok(Self::Secs),
            "ms" => Ok(Self::Millis),
            "us" => Ok(Self::Micros),
            "iso" => Ok(Self::Iso),
            pattern if pattern.contains('%') => Ok(Self::Strftime(pattern.to_owned())),
            _ => Err(InvalidColumn(format!(
                "`{text}` is no unit of a timestamp: write s, ms, us, iso or a strftime pattern"
            ))),
        }
    }
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(None);

    /// The zone as Arrow knows it; `None` for UTC.
    pub(crate) fn tz(&self) -> Option<Tz> {
        self.0.as_ref().map(|zone| zone.tz)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        let name = |zone: &Self| zone.0.as_ref().map(|zone| zone.name.clone());
        name(self) == name(other)
    }
}

/// Reads an offset or a name of the tz database.
impl FromStr for Zone {
    type Err = InvalidColumn;
    fn from_str(text: &str) -> Result<Self, InvalidColumn> {
        if matches!(text, "UTC" | "utc" | "Z") {
            return Ok(Self::UTC);
        }
        let invalid = |_| InvalidColumn(format!("`{text}` is no time zone: write +02:00 or Europe/Berlin"));
        let tz = text.parse().map_err(invalid)?;
        Ok(Self(Some(NamedZone { name: text.to_owned(), tz })))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or("UTC", |zone| zone.name.as_str()))
    }
}
