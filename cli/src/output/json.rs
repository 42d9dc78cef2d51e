//! Rows as one JSON array of objects, a line each; null is written, what JSON cannot say (NaN, infinity) is null too.

use std::io::{self, Write};

use super::{Cell, RowWriter};

pub(super) struct JsonWriter<W> {
    out: W,
    /// Column names with quotes and colon.
    names: Vec<String>,
    any: bool,
}

impl<W: Write> JsonWriter<W> {
    pub(super) fn begin(mut out: W, columns: &[&str]) -> io::Result<Self> {
        let name = |name: &&str| Ok(format!("{}:", serde_json::to_string(name)?));
        let names = columns.iter().map(name).collect::<serde_json::Result<_>>()?;
        out.write_all(b"[")?;
        Ok(Self { out, names, any: false })
    }
}

impl<W: Write + Send> RowWriter for JsonWriter<W> {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.out.write_all(if self.any { b",\n{" } else { b"\n{" })?;
        self.any = true;
        for (at, (name, cell)) in self.names.iter().zip(cells).enumerate() {
            if at > 0 {
                self.out.write_all(b",")?;
            }
            self.out.write_all(name.as_bytes())?;
            value(&mut self.out, cell)?;
        }
        self.out.write_all(b"}")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.write_all(if self.any { b"\n]\n" } else { b"]\n" })?;
        self.out.flush()
    }
}

fn value(out: &mut impl Write, cell: &Cell) -> io::Result<()> {
    match cell {
        Cell::Null => out.write_all(b"null"),
        Cell::Bar(bar) => Ok(serde_json::to_writer(out, &bar.text)?),
        Cell::Text(text) => Ok(serde_json::to_writer(out, text)?),
        Cell::Float(number) => Ok(serde_json::to_writer(out, number)?),
        Cell::Bool(_) | Cell::Int(_) | Cell::Unsigned(_) | Cell::Number(_) => write!(out, "{cell}"),
        Cell::List(items) => {
            out.write_all(b"[")?;
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.write_all(b",")?;
                }
                value(out, item)?;
            }
            out.write_all(b"]")
        }
    }
}
