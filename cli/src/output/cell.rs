//! One value of a row, whatever it came from.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use neartime_air::Bar;
use neartime_model::Instant;

/// A value as it is printed: numbers and booleans bare, instants as RFC 3339 UTC, lists in brackets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Cell {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    /// A decimal number, digit for digit.
    Number(String),
    Text(String),
    List(Vec<Cell>),
    /// An index drawn; in tables only.
    Bar(Bar),
}

/// A column of a batch, made ready for its values to be taken one by one.
pub(crate) struct Column {
    array: ArrayRef,
    /// Asked of the array once: one of a dictionary looks at every row to tell them.
    nulls: Option<NullBuffer>,
}

impl Column {
    pub(crate) fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        let array = match array.data_type() {
            kind if kind.is_signed_integer() => cast(array, &DataType::Int64)?,
            kind if kind.is_unsigned_integer() => cast(array, &DataType::UInt64)?,
            kind if kind.is_floating() => cast(array, &DataType::Float64)?,
            _ => Arc::clone(array),
        };
        // Not `nulls`: an array of type Null, or a dictionary, has its nulls elsewhere.
        let nulls = array.logical_nulls();
        Ok(Self { array, nulls })
    }

    /// The value at `row`.
    pub(crate) fn cell(&self, row: usize) -> Result<Cell, ArrowError> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(Cell::Null);
        }
        let array = &self.array;
        Ok(match array.data_type() {
            DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
            DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
            DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row).to_owned()),
            DataType::Utf8View => Cell::Text(array.as_string_view().value(row).to_owned()),
            DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Cell::Float(array.as_primitive::<Float64Type>().value(row)),
            DataType::UInt64 => Cell::Unsigned(array.as_primitive::<UInt64Type>().value(row)),
            DataType::Timestamp(unit, _) => timestamp(array, *unit, row),
            DataType::List(_) => list(&array.as_list::<i32>().value(row))?,
            DataType::LargeList(_) => list(&array.as_list::<i64>().value(row))?,
            kind => {
                let text = ArrayFormatter::try_new(array, &FormatOptions::default())?.value(row).to_string();
                if kind.is_decimal() { Cell::Number(text) } else { Cell::Text(text) }
            }
        })
    }
}

impl Cell {
    /// Whether people read it better at the right edge.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Unsigned(_) | Self::Float(_) | Self::Number(_))
    }
}

fn list(items: &ArrayRef) -> Result<Cell, ArrowError> {
    let column = Column::new(items)?;
    (0..items.len()).map(|row| column.cell(row)).collect::<Result<_, _>>().map(Cell::List)
}

/// Timestamps without a zone are UTC here, as everywhere.
fn timestamp(array: &ArrayRef, unit: TimeUnit, row: usize) -> Cell {
    let instant = match unit {
        TimeUnit::Second => Instant::from_secs(array.as_primitive::<TimestampSecondType>().value(row)),
        TimeUnit::Millisecond => Instant::from_millis(array.as_primitive::<TimestampMillisecondType>().value(row)),
        TimeUnit::Microsecond => Instant::from_micros(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        TimeUnit::Nanosecond => {
            Instant::from_micros(array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000))
        }
    };
    instant.into()
}

/// The value without quotes; null is empty.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            // Debug, not Display: as few digits as tell it from its neighbours, and an exponent where it is short.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Number(value) | Self::Text(value) => f.write_str(value),
            Self::Bar(bar) => f.write_str(&bar.text),
            Self::List(items) => {
                f.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
                }
                f.write_char(']')
            }
        }
    }
}

impl From<Instant> for Cell {
    fn from(instant: Instant) -> Self {
        Self::Text(instant.to_string())
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        Self::Unsigned(value as u64)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Unsigned(value.into())
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
