//! Rows on standard output: as a table, as CSV, as JSON.
//!
//! **Invariant:** standard output carries rows alone; everything said about them goes to standard error.

mod cell;
mod csv;
mod json;
mod pager;
mod table;

use std::io::{self, BufWriter, Write};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

pub(crate) use cell::{Cell, Column};

use crate::args::Format;

/// Whoever read our output has gone (`| head`): no error, and no reason to go on.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub(crate) struct OutputClosed;

/// One way to write rows.
trait RowWriter: Send {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()>;
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Writes rows of named columns in the format asked for.
pub(crate) struct Rows {
    writer: Box<dyn RowWriter>,
    columns: usize,
    left: Option<usize>,
    written: usize,
}

impl Rows {
    /// Begins rows of these columns on standard output; `limit` is the most that are written.
    pub(crate) fn begin(format: Format, columns: &[&str], limit: Option<usize>) -> anyhow::Result<Self> {
        let out = BufWriter::new(io::stdout());
        Self::begin_on(out, format, columns, limit)
    }

    fn begin_on(
        out: impl Write + Send + 'static,
        format: Format,
        columns: &[&str],
        limit: Option<usize>,
    ) -> anyhow::Result<Self> {
        let writer: Box<dyn RowWriter> = match format {
            Format::Table => Box::new(table::TableWriter::new(out, columns, limit.is_none())),
            Format::Csv => Box::new(closed(csv::CsvWriter::begin(out, columns))?),
            Format::Json => Box::new(closed(json::JsonWriter::begin(out, columns))?),
        };
        Ok(Self { writer, columns: columns.len(), left: limit, written: 0 })
    }

    /// Writes one row; `false` once no more are wanted.
    pub(crate) fn row(&mut self, cells: &[Cell]) -> anyhow::Result<bool> {
        debug_assert_eq!(cells.len(), self.columns);
        if let Some(left) = &mut self.left {
            let Some(less) = left.checked_sub(1) else { return Ok(false) };
            *left = less;
        }
        closed(self.writer.row(cells))?;
        self.written += 1;
        Ok(self.left != Some(0))
    }

    /// Writes all rows of a batch; `false` once no more are wanted.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> anyhow::Result<bool> {
        let mut more = self.left != Some(0);
        let columns: Vec<Column> = batch.columns().iter().map(Column::new).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<Cell> = columns.iter().map(|column| column.cell(row)).collect::<Result<_, _>>()?;
            more = self.row(&cells)?;
            if !more {
                break;
            }
        }
        Ok(more)
    }

    /// Writes what is left (a table is laid out only now) and tells how many rows there were.
    pub(crate) fn finish(self) -> anyhow::Result<usize> {
        closed(self.writer.finish())?;
        Ok(self.written)
    }
}

/// The names of a schema's columns.
pub(crate) fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

/// Prints complete rows.
pub(crate) fn print(
    format: Format,
    columns: &[&str],
    limit: Option<usize>,
    rows: Vec<Vec<Cell>>,
) -> anyhow::Result<()> {
    let mut out = Rows::begin(format, columns, limit)?;
    for row in &rows {
        if !out.row(row)? {
            break;
        }
    }
    out.finish()?;
    Ok(())
}

/// Prints text as it is, and a line's end.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    closed(writeln!(io::stdout(), "{text}"))
}

/// Text of raw files, or a name of one, for a terminal: control characters would let it move the reader's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// The same of one character.
pub(crate) fn visible(character: char) -> char {
    if character.is_control() { '\u{fffd}' } else { character }
}

/// Tells a reader that has gone from a real error.
pub(crate) fn closed<T>(result: io::Result<T>) -> anyhow::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => anyhow::Error::new(error).context("could not write to standard output"),
    })
}

#[cfg(test)]
mod tests;
