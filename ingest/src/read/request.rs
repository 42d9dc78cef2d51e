//! What to read: which files, which columns, which rows.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use neartime_model::{Chunk, FileKey, FileVersion};

use super::ReadError;
use crate::rows::{CurrentFile, Output, Plan};
use crate::source::{DATA_CHUNK, Source, captures};
use crate::values::filter::RowFilter;

/// Rows of a batch, unless the request says otherwise.
pub const DEFAULT_BATCH_ROWS: usize = 8192;

/// A file to be read, at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Its key.
    pub key: FileKey,
    /// The version that is to be read, no other.
    pub version: FileVersion,
    /// Its size in bytes, as stored; the largest file is read first.
    pub size: u64,
}

/// What the features of a source ask of its events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The columns of the batches, in this order; names of the source's events schema.
    pub columns: Vec<String>,
    /// For each feature the conditions all of which its rows fulfil; `None` if some feature may want any row. A row
    /// that fulfils the conditions of no feature may be left out, and need not be.
    pub rows: Option<Vec<Vec<Expr>>>,
}

impl Wanted {
    /// Every column and row of `source`.
    pub fn everything(source: &Source) -> Self {
        let columns = source.events_schema().fields().iter().map(|field| field.name().clone()).collect();
        Self { columns, rows: None }
    }

    /// The schema of the batches; an error names a column that the source does not have.
    pub fn schema(&self, source: &Source) -> Result<SchemaRef, ReadError> {
        let schema = source.events_schema();
        let field = |name: &String| match schema.field_with_name(name) {
            Ok(field) => Ok(field.clone()),
            Err(_) => Err(ReadError::UnknownColumn { column: name.clone() }),
        };
        let fields = self.columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// The chunk that the files belong to.
    pub chunk: Chunk,
    /// The files, without those that are quarantined.
    pub files: Vec<InputFile>,
    /// What of them.
    pub wanted: Wanted,
    /// Threads to read with.
    pub threads: usize,
    /// Rows of a batch.
    pub batch_rows: usize,
}

impl ReadRequest {
    /// Reads `files` of `chunk` with one thread in batches of [`DEFAULT_BATCH_ROWS`].
    pub fn new(chunk: Chunk, files: Vec<InputFile>, wanted: Wanted) -> Self {
        Self { chunk, files, wanted, threads: 1, batch_rows: DEFAULT_BATCH_ROWS }
    }

    /// The same read with `threads` threads.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// What every reader needs to know, with the `hidden` outputs behind the wanted ones.
    pub(crate) fn plan(&self, source: &Arc<Source>, hidden: &[Output]) -> Result<Plan, ReadError> {
        let schema = self.wanted.schema(source)?;
        let mut outputs: Vec<_> = self.wanted.columns.iter().map(|name| output(source, name)).collect();
        let mut fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (at, output) in hidden.iter().enumerate() {
            fields.push(hidden_field(source, *output, at));
            outputs.push(*output);
        }
        Ok(Plan {
            chunk: self.chunk,
            outputs,
            schema: Arc::new(Schema::new(fields)),
            // Which of several rows with the same `unique` value stays is decided before features filter.
            filter: match &self.wanted.rows {
                Some(features) if source.unique.is_none() => RowFilter::new(source, features),
                _ => None,
            },
            batch_rows: self.batch_rows.max(1),
            source: Arc::clone(source),
        })
    }

    /// The files with what their keys tell, the largest first.
    pub(super) fn into_files(self, source: &Source) -> Result<Vec<(InputFile, CurrentFile)>, ReadError> {
        let mut files = self.files;
        files.sort_by(|a, b| a.key.cmp(&b.key));
        let current = |(number, input): (usize, InputFile)| {
            let matched = source.layout.match_key(input.key.as_str()).ok_or_else(|| ReadError::Failed {
                what: format!("read `{}`: its name is not of the layout of source `{}`", input.key, source.name),
            })?;
            let captures = matched.path_captures.iter().chain(&matched.row_captures).map(|text| (*text).to_owned());
            let current = CurrentFile {
                key: input.key.clone(),
                number: u32::try_from(number).expect("a chunk has fewer than 4 billion files"),
                captures: captures.collect(),
            };
            Ok((input, current))
        };
        let mut files = files.into_iter().enumerate().map(current).collect::<Result<Vec<_>, ReadError>>()?;
        files.sort_by_key(|(input, _)| std::cmp::Reverse(input.size));
        Ok(files)
    }
}

/// What the column `name` of the events schema holds.
fn output(source: &Source, name: &str) -> Output {
    if name == DATA_CHUNK {
        return Output::DataChunk;
    }
    match source.column_index(name) {
        Some(column) => Output::Column(column),
        None => Output::Capture(
            captures(&source.layout).position(|capture| capture == name).expect("the schema has no other columns"),
        ),
    }
}

fn hidden_field(source: &Source, output: Output, at: usize) -> Field {
    let data_type = match output {
        Output::Column(column) => source.columns[column].kind.data_type(),
        Output::FileNumber => DataType::UInt32,
        Output::LineNumber => DataType::UInt64,
        Output::Capture(_) => DataType::Utf8View,
        Output::DataChunk => crate::source::timestamp_type(),
    };
    // No configured name stands in its way: only the position counts.
    Field::new(format!("#{at}"), data_type, true)
}
