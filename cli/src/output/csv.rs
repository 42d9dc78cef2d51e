//! Rows as CSV (RFC 4180, lines end in LF): a header line; null is empty, empty text is `""`.

use std::io::{self, Write};

use super::{Cell, RowWriter};

pub(super) struct CsvWriter<W> {
    out: W,
}

impl<W: Write> CsvWriter<W> {
    pub(super) fn begin(mut out: W, columns: &[&str]) -> io::Result<Self> {
        record(&mut out, columns.iter().map(|name| Some(*name)))?;
        Ok(Self { out })
    }
}

impl<W: Write + Send> RowWriter for CsvWriter<W> {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        let fields: Vec<Option<String>> =
            cells.iter().map(|cell| (*cell != Cell::Null).then(|| cell.to_string())).collect();
        record(&mut self.out, fields.iter().map(Option::as_deref))
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

fn record<'a>(out: &mut impl Write, fields: impl Iterator<Item = Option<&'a str>>) -> io::Result<()> {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        match field {
            None => {}
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                write!(out, "\"{}\"", text.replace('"', "\"\""))?;
            }
            Some(text) => out.write_all(text.as_bytes())?,
        }
    }
    out.write_all(b"\n")
}
