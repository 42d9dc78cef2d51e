//! From the bytes of a file to typed values, line by line, as a read does it.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef};

use crate::lines::{Fields, Line, Lines, Raw, ReadBytes, Refusal, Taken};
use crate::read::ReadError;
use crate::report::Reason;
use crate::source::{ColumnKind, Source};
use crate::values::ColumnBuilder;

/// What one column holds of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Misfit,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Millis(i64),
    List(Vec<Option<String>>),
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    Header,
    Values(Vec<Value>),
    Refused(Reason),
    /// The whole file is, and this line is the last that was looked at.
    FileRefused,
}

/// Bytes in memory.
struct Bytes<'a>(&'a [u8]);

impl ReadBytes for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let (now, later) = self.0.split_at(self.0.len().min(out.len()));
        out[..now.len()].copy_from_slice(now);
        self.0 = later;
        Ok(now.len())
    }
}

/// Reads files of one source.
pub struct Reader {
    fields: Fields,
    columns: Vec<Column>,
}

/// Reads the values of one column.
pub struct Column {
    builder: ColumnBuilder,
    scratch: Vec<u8>,
}

impl Reader {
    pub fn new(source: &Source) -> Self {
        let columns = source.columns.iter().map(|column| Column::new(&column.kind)).collect();
        Self { fields: Fields::new(source), columns }
    }

    /// The lines of a file that are not blank, with their numbers; `block` bytes are read at a time.
    pub fn rows(&mut self, file: &[u8], block: usize) -> Vec<(u64, Row)> {
        self.fields.begin_file();
        let mut lines = Lines::over(vec![0; block], self.fields.quoting());
        let (mut bytes, mut rows) = (Bytes(file), Vec::new());
        while let Ok(Some((number, line))) = lines.next(&mut bytes) {
            let line = match line {
                Line::Whole(line) => self.fields.trim(line),
                Line::TooLong(_) => panic!("no input is that long"),
            };
            if line.is_empty() {
                continue;
            }
            let row = match self.fields.take(line) {
                Ok(Taken::Header) => Row::Header,
                Ok(Taken::Row) => {
                    let fields = &self.fields;
                    let value = |(at, column): (usize, &mut Column)| column.append(fields, line, at);
                    Row::Values(self.columns.iter_mut().enumerate().map(value).collect())
                }
                Err(Refusal::Line(reason)) => Row::Refused(reason),
                Err(Refusal::File(_)) => Row::FileRefused,
            };
            let ends = row == Row::FileRefused;
            rows.push((number, row));
            if ends {
                break;
            }
        }
        rows
    }
}

impl Column {
    pub fn new(kind: &ColumnKind) -> Self {
        Self { builder: ColumnBuilder::new(kind, 1), scratch: Vec::new() }
    }

    /// The value of text, as a JSON string without escapes has it.
    pub fn text(&mut self, text: &[u8]) -> Value {
        let fits = self.builder.append(Raw::Text(text), &[], &mut self.scratch).is_ok();
        value(self.builder.finish(), fits)
    }

    /// The value of a JSON number.
    pub fn number(&mut self, text: &[u8]) -> Value {
        let fits = self.builder.append(Raw::Number(text), &[], &mut self.scratch).is_ok();
        value(self.builder.finish(), fits)
    }

    fn append(&mut self, fields: &Fields, line: &[u8], at: usize) -> Value {
        let fits = self.builder.append(fields.raw(line, at), fields.rest(at), &mut self.scratch).is_ok();
        value(self.builder.finish(), fits)
    }
}

/// The only value of a column.
fn value(array: ArrayRef, fits: bool) -> Value {
    assert_eq!(array.len(), 1);
    if !fits {
        assert!(array.is_null(0), "what does not fit is null");
        return Value::Misfit;
    }
    if array.is_null(0) {
        return Value::Null;
    }
    match array.data_type() {
        arrow_schema::DataType::Utf8View => Value::Text(array.as_string_view().value(0).to_owned()),
        arrow_schema::DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(0)),
        arrow_schema::DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(0)),
        arrow_schema::DataType::Boolean => Value::Bool(array.as_boolean().value(0)),
        arrow_schema::DataType::Timestamp(..) => {
            Value::Millis(array.as_primitive::<TimestampMillisecondType>().value(0))
        }
        arrow_schema::DataType::List(_) => {
            let items = array.as_list::<i32>().value(0);
            Value::List(items.as_string_view().iter().map(|item| item.map(str::to_owned)).collect())
        }
        other => panic!("no column is of type {other}"),
    }
}
