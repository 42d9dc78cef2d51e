//! Values: what a field holds, as its column's type; what does not fit is null.

pub(crate) mod filter;
mod list;
mod number;
mod texts;
mod time;

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringViewBuilder, TimestampMillisecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field};

use crate::lines::delimited::undouble;
use crate::lines::scan::unescape;
use crate::lines::{Raw, Step};
use crate::source::ColumnKind;

pub(crate) use texts::Texts;
pub(crate) use time::TimeReader;

/// The value does not fit its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misfit;

/// Collects one column of a batch.
#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    String(Texts),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Timestamp(TimestampMillisecondBuilder, TimeReader),
    List(ListBuilder<StringViewBuilder>),
}

impl ColumnBuilder {
    /// For a column of `kind` in batches of `rows`.
    pub(crate) fn new(kind: &ColumnKind, rows: usize) -> Self {
        match kind {
            ColumnKind::String => Self::String(Texts::with_capacity(rows)),
            ColumnKind::Int => Self::Int(Int64Builder::with_capacity(rows)),
            ColumnKind::Float => Self::Float(Float64Builder::with_capacity(rows)),
            ColumnKind::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            ColumnKind::Timestamp { unit, zone } => {
                let builder = TimestampMillisecondBuilder::with_capacity(rows).with_data_type(kind.data_type());
                Self::Timestamp(builder, TimeReader::new(unit, zone))
            }
            ColumnKind::ListString => {
                let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
                let items = StringViewBuilder::with_capacity(rows);
                Self::List(ListBuilder::with_capacity(items, rows).with_field(item))
            }
        }
    }

    /// Appends a value, or null and the news that it does not fit. `rest` leads from the value to the items of a list.
    #[inline]
    pub(crate) fn append(&mut self, raw: Raw<'_>, rest: &[Step], scratch: &mut Vec<u8>) -> Result<(), Misfit> {
        match self {
            Self::String(builder) => append(text(raw, scratch), |value| builder.append_option(value)),
            Self::Int(builder) => append(int(raw, scratch), |value| builder.append_option(value)),
            Self::Float(builder) => append(float(raw, scratch), |value| builder.append_option(value)),
            Self::Bool(builder) => append(bool(raw, scratch), |value| builder.append_option(value)),
            Self::Timestamp(builder, reader) => append(reader.read(raw, scratch), |value| builder.append_option(value)),
            Self::List(builder) => list::append(builder, raw, rest, scratch),
        }
    }

    /// Appends an instant that has been read already, in milliseconds.
    pub(crate) fn append_millis(&mut self, millis: i64) {
        match self {
            Self::Timestamp(builder, _) => builder.append_value(millis),
            _ => unreachable!("only timestamps are read early"),
        }
    }

    /// The column, after which the next one begins.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::String(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder, _) => Arc::new(builder.finish()),
            Self::List(builder) => Arc::new(builder.finish()),
        }
    }
}

#[inline]
fn append<T>(value: Result<Option<T>, Misfit>, append: impl FnOnce(Option<T>)) -> Result<(), Misfit> {
    match value {
        Ok(value) => {
            append(value);
            Ok(())
        }
        Err(misfit) => {
            append(None);
            Err(misfit)
        }
    }
}

/// The value as text: numbers, booleans and JSON texts as written. An empty text is a text.
#[inline]
pub(crate) fn text<'a>(raw: Raw<'a>, scratch: &'a mut Vec<u8>) -> Result<Option<&'a str>, Misfit> {
    let bytes = match raw {
        Raw::Absent | Raw::Null => return Ok(None),
        Raw::Text(bytes) | Raw::Number(bytes) | Raw::Bool(bytes) | Raw::Container(bytes) => bytes,
        Raw::Escaped(body) => {
            scratch.clear();
            unescape(body, scratch).map_err(|_| Misfit)?;
            scratch
        }
        Raw::Doubled(body, quote) => {
            scratch.clear();
            undouble(body, quote, scratch);
            scratch
        }
    };
    utf8(bytes).map(Some).ok_or(Misfit)
}

/// The text of these bytes, if they are UTF-8.
#[inline(always)]
pub(crate) fn utf8(bytes: &[u8]) -> Option<&str> {
    if is_ascii(bytes) {
        // SAFETY: ASCII is UTF-8. Most values are, and so short that the library's own check costs more than all the
        // rest that happens to them.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).ok()
}

/// Whether no byte has its high bit set; looked at in two words where the text is short, which most are.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let word = |half: &[u8; 8]| u64::from_le_bytes(*half);
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) if bytes.len() <= 16 => (word(first) | word(last)) & HIGH == 0,
        (Some(_), _) => bytes.is_ascii(),
        _ => bytes.iter().fold(0, |all, byte| all | byte) < 0x80,
    }
}

/// The text of a value that is to hold one number, boolean or instant; `None` if it is null or empty.
#[inline]
fn scalar<'a>(raw: Raw<'a>, scratch: &'a mut Vec<u8>) -> Result<Option<&'a str>, Misfit> {
    match text(raw, scratch)? {
        None | Some("") => Ok(None),
        Some(text) => Ok(Some(text.trim_ascii())),
    }
}

fn int(raw: Raw<'_>, scratch: &mut Vec<u8>) -> Result<Option<i64>, Misfit> {
    match raw {
        Raw::Bool(_) | Raw::Container(_) => Err(Misfit),
        _ => scalar(raw, scratch)?.map(|text| number::int(text).ok_or(Misfit)).transpose(),
    }
}

fn float(raw: Raw<'_>, scratch: &mut Vec<u8>) -> Result<Option<f64>, Misfit> {
    match raw {
        Raw::Bool(_) | Raw::Container(_) => Err(Misfit),
        _ => scalar(raw, scratch)?.map(|text| number::float(text).ok_or(Misfit)).transpose(),
    }
}

fn bool(raw: Raw<'_>, scratch: &mut Vec<u8>) -> Result<Option<bool>, Misfit> {
    match raw {
        Raw::Number(_) | Raw::Container(_) => Err(Misfit),
        _ => match scalar(raw, scratch)? {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(Misfit),
        },
    }
}

#[cfg(test)]
mod tests;
