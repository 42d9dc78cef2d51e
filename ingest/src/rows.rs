//! From lines to batches: the verdict on each line, and the values of those that stay.
//!
//! What drops a line never depends on which columns features read: bad lines, missing required columns and impossible
//! event times drop it for all. Values are converted only for the columns that are asked for.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, TimestampMillisecondArray, UInt32Array, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use neartime_model::{Chunk, FileKey};

use crate::lines::{Fields, Line, Refusal, Taken};
use crate::report::{BadLine, Findings, Reason, excerpt};
use crate::source::{Outside, Source};
use crate::values::filter::RowFilter;
use crate::values::{ColumnBuilder, Misfit, Texts, TimeReader};

/// A batch is full when the lines of its rows come to this, however few they are: what it holds is no more than a few
/// times that.
const BATCH_LINE_BYTES: usize = 16 << 20;

/// What one column of a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A configured column, by its position.
    Column(usize),
    /// A capture of the layout, by its position.
    Capture(usize),
    /// The start of the chunk.
    DataChunk,
    /// The file's place among the files in order of their keys. UInt32.
    FileNumber,
    /// The line's number in its file. UInt64.
    LineNumber,
}

/// What every reader of one read shares.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: Arc<Source>,
    pub(crate) chunk: Chunk,
    pub(crate) outputs: Vec<Output>,
    pub(crate) schema: SchemaRef,
    pub(crate) filter: Option<RowFilter>,
    pub(crate) batch_rows: usize,
}

/// The file whose lines are being taken.
#[derive(Debug)]
pub(crate) struct CurrentFile {
    pub(crate) key: FileKey,
    /// Its place among the files in order of their keys.
    pub(crate) number: u32,
    /// The values of the layout's captures.
    pub(crate) captures: Vec<String>,
}

/// Builds the batches of one file after another.
#[derive(Debug)]
pub(crate) struct Rows {
    plan: Arc<Plan>,
    fields: Fields,
    event_time: Option<EventTime>,
    required: Vec<usize>,
    /// The configured columns that are asked for.
    builders: Vec<(usize, ColumnBuilder)>,
    /// The rows' line numbers, where they are asked for.
    line_numbers: Option<Vec<u64>>,
    rows: usize,
    /// Bytes of the lines that the rows come from.
    line_bytes: usize,
    scratch: Vec<u8>,
}

/// How the event time is read, and between which instants it is possible, in milliseconds.
#[derive(Debug)]
struct EventTime {
    column: usize,
    reader: TimeReader,
    earliest: i64,
    latest: i64,
    start: i64,
    end: i64,
}

/// Why a line is dropped for all features, and the column to blame.
struct Dropped {
    reason: Reason,
    column: Option<usize>,
}

impl Rows {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        let source = &plan.source;
        let position = |name: &String| source.column_index(name).expect("checked with the source");
        let builder = |output: &Output| match *output {
            Output::Column(at) => Some((at, ColumnBuilder::new(&source.columns[at].kind, plan.batch_rows))),
            _ => None,
        };
        Self {
            fields: Fields::new(source),
            event_time: EventTime::new(source, plan.chunk),
            required: source.required.iter().map(position).collect(),
            builders: plan.outputs.iter().filter_map(builder).collect(),
            line_numbers: plan.outputs.contains(&Output::LineNumber).then(Vec::new),
            rows: 0,
            line_bytes: 0,
            scratch: Vec::new(),
            plan,
        }
    }

    /// How lines end, for the file that begins.
    pub(crate) fn begin_file(&mut self) -> Option<crate::lines::Quoting> {
        self.fields.begin_file();
        self.fields.quoting()
    }

    /// Whether a batch is full.
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= self.plan.batch_rows || self.line_bytes >= BATCH_LINE_BYTES
    }

    /// Takes one line of `file`; an error is a verdict on the whole file.
    #[inline]
    pub(crate) fn take(
        &mut self,
        line: &Line<'_>,
        number: u64,
        file: &CurrentFile,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let text = match line {
            Line::Whole(line) => self.fields.trim(line),
            Line::TooLong(head) => {
                findings.lines += 1;
                let dropped = Dropped { reason: Reason::LineTooLong, column: None };
                self.refuse(dropped, head, number, file, findings);
                return Ok(());
            }
        };
        if text.is_empty() {
            return Ok(());
        }
        match self.fields.take(text) {
            Ok(Taken::Header) => return Ok(()),
            Ok(Taken::Row) => {}
            Err(Refusal::File(reason)) => return Err(reason),
            Err(Refusal::Line(reason)) => {
                findings.lines += 1;
                self.refuse(Dropped { reason, column: None }, text, number, file, findings);
                return Ok(());
            }
        }
        findings.lines += 1;
        match self.verdict(text, findings) {
            Err(dropped) => self.refuse(dropped, text, number, file, findings),
            Ok(event_time) if self.is_wanted(text) => self.push(text, number, event_time, file, findings),
            Ok(_) => findings.filtered += 1,
        }
        Ok(())
    }

    /// The rows taken since the last batch, all of `file`.
    pub(crate) fn finish_batch(&mut self, file: &CurrentFile) -> Option<RecordBatch> {
        if self.rows == 0 {
            return None;
        }
        let rows = std::mem::take(&mut self.rows);
        self.line_bytes = 0;
        let mut columns = self.builders.iter_mut().map(|(_, builder)| builder.finish());
        let start = self.plan.chunk.start().as_millis();
        let line_numbers = self.line_numbers.as_mut().map(std::mem::take).unwrap_or_default();
        let column = |output: &Output| -> ArrayRef {
            match *output {
                Output::Column(_) => columns.next().expect("one builder for each column"),
                Output::Capture(at) => Arc::new(Texts::repeated(&file.captures[at], rows)),
                Output::DataChunk => Arc::new(TimestampMillisecondArray::from_value(start, rows).with_timezone("UTC")),
                Output::FileNumber => Arc::new(UInt32Array::from_value(file.number, rows)),
                Output::LineNumber => Arc::new(UInt64Array::from(line_numbers.clone())),
            }
        };
        let columns = self.plan.outputs.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.plan.schema), columns, &options);
        Some(batch.expect("the builders follow the schema"))
    }

    /// The event time, if the source has one, of a line that stays.
    fn verdict(&mut self, line: &[u8], findings: &mut Findings) -> Result<Option<i64>, Dropped> {
        for &column in &self.required {
            if self.fields.raw(line, column).is_missing() {
                return Err(Dropped { reason: Reason::MissingRequired, column: Some(column) });
            }
        }
        let Some(event) = &self.event_time else { return Ok(None) };
        let dropped = |reason| Dropped { reason, column: Some(event.column) };
        let at = match event.reader.read(self.fields.raw(line, event.column), &mut self.scratch) {
            Ok(Some(at)) => at,
            Ok(None) => return Err(dropped(Reason::MissingEventTime)),
            Err(Misfit) => return Err(dropped(Reason::BadEventTime)),
        };
        if at > event.latest {
            return Err(dropped(Reason::TooFarAhead));
        }
        if at < event.earliest {
            return Err(dropped(Reason::TooFarBehind));
        }
        if !(event.start..event.end).contains(&at) {
            match self.plan.source.outside {
                Outside::Quarantine => return Err(dropped(Reason::OutsideChunk)),
                Outside::Keep => findings.outside_rows += 1,
            }
        }
        Ok(Some(at))
    }

    #[inline]
    fn is_wanted(&mut self, line: &[u8]) -> bool {
        match &self.plan.filter {
            Some(filter) => filter.wants(&self.fields, line, &mut self.scratch),
            None => true,
        }
    }

    /// Appends the values of a row.
    #[inline]
    fn push(&mut self, line: &[u8], number: u64, event_time: Option<i64>, file: &CurrentFile, findings: &mut Findings) {
        let event_column = self.event_time.as_ref().map(|event| event.column);
        let mut misfits = Vec::new();
        for (column, builder) in &mut self.builders {
            if let (true, Some(at)) = (Some(*column) == event_column, event_time) {
                builder.append_millis(at);
                continue;
            }
            let raw = self.fields.raw(line, *column);
            if let Err(Misfit) = builder.append(raw, self.fields.rest(*column), &mut self.scratch) {
                misfits.push(*column);
            }
        }
        for column in misfits {
            self.refuse(Dropped { reason: Reason::Misfit, column: Some(column) }, line, number, file, findings);
        }
        if let Some(numbers) = &mut self.line_numbers {
            numbers.push(number);
        }
        self.rows += 1;
        self.line_bytes += line.len();
        findings.rows += 1;
    }

    /// Counts a refusal and keeps it as an example.
    #[cold]
    fn refuse(&self, dropped: Dropped, line: &[u8], number: u64, file: &CurrentFile, findings: &mut Findings) {
        findings.refuse(dropped.reason, || BadLine {
            key: file.key.clone(),
            line: number,
            column: dropped.column.map(|column| self.plan.source.columns[column].name.clone()),
            reason: dropped.reason,
            text: excerpt(line),
        });
    }
}

impl EventTime {
    fn new(source: &Source, chunk: Chunk) -> Option<Self> {
        let column = source.event_time_column()?;
        let mut builder = ColumnBuilder::new(&source.columns[column].kind, 0);
        let ColumnBuilder::Timestamp(_, reader) = &mut builder else { unreachable!("checked with the source") };
        Some(Self {
            column,
            reader: reader.clone(),
            // Instants are compared in whole milliseconds, as they are read.
            earliest: (chunk.start() - source.max_behind).as_millis(),
            latest: (chunk.end() + source.max_ahead).as_millis(),
            start: chunk.start().as_millis(),
            end: chunk.end().as_millis(),
        })
    }
}

#[cfg(test)]
mod tests;
