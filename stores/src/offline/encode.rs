//! Rows to Parquet, the same bytes for the same rows whatever batches they arrive in.
//!
//! The writer looks at page and dictionary limits at the end of each batch that it is given, so batches are cut to one
//! size first. Memory is one batch and the encoded row group, whatever the number of rows.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, TimestampMillisecondArray};
use datafusion::arrow::compute::BatchCoalescer;
use datafusion::arrow::datatypes::{SchemaRef, TimestampMillisecondType};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tokio::sync::mpsc;

use super::adapt::column_as;
use crate::StoreError;

/// Rows of one batch handed to the writer.
const BATCH_ROWS: usize = 8 * 1024;

/// Rows of a row group, a multiple of [`BATCH_ROWS`]: small enough that one encoded row group of the longest keys
/// fits into memory, large enough that a column chunk is worth a request.
const ROW_GROUP_ROWS: usize = 8 * BATCH_ROWS;

/// What is to be written.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The columns of the file; the row key comes first.
    pub(super) schema: SchemaRef,
    /// How many columns the row key has. They are text.
    pub(super) key_columns: usize,
    /// The footer's key-value metadata.
    pub(super) metadata: Vec<KeyValue>,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded {
    pub(super) rows: u64,
    pub(super) size_bytes: u64,
}

enum Piece {
    /// [`BATCH_ROWS`] rows, or the last ones.
    Rows(RecordBatch),
    /// How many there were.
    End { rows: u64 },
}

/// Writes `rows` into the file at `path`, syncs it and reads its footer back.
pub(super) async fn encode(
    path: PathBuf,
    layout: Layout,
    rows: SendableRecordBatchStream,
) -> Result<Encoded, StoreError> {
    let layout = Arc::new(layout);
    // Rows are checked and cut here while those before them are encoded there.
    let (sender, receiver) = mpsc::channel(2);
    let writer = tokio::task::spawn_blocking({
        let layout = Arc::clone(&layout);
        move || write_file(&path, &layout, receiver)
    });
    let handed_over = hand_over(rows, &layout, sender).await;
    let written = writer.await.map_err(|error| StoreError::failed("encoding parquet", error))?;
    handed_over?;
    written
}

/// Sends all rows to the writer. Without the last piece it takes them for broken off.
async fn hand_over(
    mut rows: SendableRecordBatchStream,
    layout: &Layout,
    writer: mpsc::Sender<Piece>,
) -> Result<(), StoreError> {
    let cutting = |error| StoreError::failed("cutting batches to size", error);
    let mut cutter = BatchCoalescer::new(Arc::clone(&layout.schema), BATCH_ROWS);
    let mut order = OrderCheck::default();
    let mut ended = false;
    while !ended {
        match rows.try_next().await.map_err(StoreError::Rows)? {
            Some(batch) => {
                let batch = conform(&batch, layout)?;
                order.check(&batch, layout.key_columns)?;
                cutter.push_batch(batch).map_err(cutting)?;
            }
            None => {
                cutter.finish_buffered_batch().map_err(cutting)?;
                ended = true;
            }
        }
        while let Some(batch) = cutter.next_completed_batch() {
            // A closed channel means that the writer has failed: its own error tells why.
            if writer.send(Piece::Rows(batch)).await.is_err() {
                return Ok(());
            }
        }
    }
    writer.send(Piece::End { rows: order.rows }).await.ok();
    Ok(())
}

fn write_file(path: &Path, layout: &Layout, mut pieces: mpsc::Receiver<Piece>) -> Result<Encoded, StoreError> {
    let failed = |error| parquet_error(path, error);
    let file = File::options().write(true).open(path).map_err(|error| io_error("opening", path, error))?;
    let mut file = ParquetFile::new(file, layout);
    let rows = loop {
        match pieces.blocking_recv() {
            Some(Piece::Rows(batch)) => file.write(&batch).map_err(failed)?,
            Some(Piece::End { rows }) => break rows,
            None => return Err(StoreError::broken_rule("the rows broke off before their end")),
        }
    };
    let file = file.finish().map_err(failed)?;
    file.inner().sync_all().map_err(|error| io_error("syncing", path, error))?;
    verify(path, rows)
}

/// A file that is begun with its first batch, which tells how its entities are best encoded.
struct ParquetFile<'a> {
    layout: &'a Layout,
    unbegun: Option<File>,
    writer: Option<ArrowWriter<File>>,
}

impl<'a> ParquetFile<'a> {
    fn new(file: File, layout: &'a Layout) -> Self {
        Self { layout, unbegun: Some(file), writer: None }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        if let Some(file) = self.unbegun.take() {
            let options = ArrowWriterOptions::new()
                .with_properties(properties(self.layout, batch))
                .with_skip_arrow_metadata(true);
            let schema = Arc::clone(&self.layout.schema);
            self.writer = Some(ArrowWriter::try_new_with_options(file, schema, options)?);
        }
        self.writer.as_mut().expect("it was begun").write(batch)
    }

    /// Hands all of the file to the operating system.
    fn finish(mut self) -> Result<ArrowWriter<File>, ParquetError> {
        if self.unbegun.is_some() {
            self.write(&RecordBatch::new_empty(Arc::clone(&self.layout.schema)))?;
        }
        let mut writer = self.writer.expect("it was begun");
        // To take the file out instead would make mere words of the system's error, and a full disk a verdict.
        writer.finish()?;
        Ok(writer)
    }
}

/// Reads the footer back, so that a file that the disk garbled is not published.
fn verify(path: &Path, rows: u64) -> Result<Encoded, StoreError> {
    let file = File::open(path).map_err(|io| io_error("opening", path, io))?;
    let size_bytes = file.metadata().map_err(|io| io_error("looking at", path, io))?.len();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(|error| parquet_error(path, error))?;
    let found = metadata.file_metadata().num_rows();
    if u64::try_from(found) == Ok(rows) {
        Ok(Encoded { rows, size_bytes })
    } else {
        Err(StoreError::broken_rule(format!("{rows} rows were written to {}, {found} came back", path.display())))
    }
}

fn properties(layout: &Layout, first: &RecordBatch) -> WriterProperties {
    let entity = layout.schema.field(0).name().as_str();
    let sorting = (0_i32..)
        .take(layout.key_columns)
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true })
        .collect();
    let mut properties = WriterProperties::builder()
        // The default would name the library's version, and an upgrade would change every file.
        .set_created_by("neartime".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(layout.metadata.clone()))
        .set_sorting_columns(Some(sorting))
        .set_column_dictionary_enabled(entity.into(), entities_repeat(first));
    for (field, column) in layout.schema.fields().iter().zip(first.columns()) {
        // Few bits tell a time from the one before; as eight bytes each, times take longest of all columns to inflate.
        if let Some(times) = column.as_primitive_opt::<TimestampMillisecondType>()
            && !most_repeat(times)
        {
            let path = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}

/// Whether most rows have the entity of the row before, to judge from a batch. Where they do not, a dictionary would hold
/// nearly all of them, after each had been looked up in it.
fn entities_repeat(batch: &RecordBatch) -> bool {
    let entities = batch.column(0).as_string::<i32>();
    let repeated = (1..entities.len()).filter(|row| value(entities, row - 1) == value(entities, *row)).count();
    2 * repeated > entities.len()
}

/// Whether most times are among those before them, as those are that tell whole seconds.
fn most_repeat(times: &TimestampMillisecondArray) -> bool {
    2 * times.iter().flatten().collect::<HashSet<_>>().len() < times.len() - times.null_count()
}

/// The batch with exactly the columns and types of the file: engines may compute with views.
fn conform(batch: &RecordBatch, layout: &Layout) -> Result<RecordBatch, StoreError> {
    if batch.num_columns() != layout.schema.fields().len() {
        return Err(StoreError::broken_rule(format!(
            "the rows have {} columns, the file has {}",
            batch.num_columns(),
            layout.schema.fields().len()
        )));
    }
    let columns = layout.schema.fields().iter().map(|field| {
        let column = batch
            .column_by_name(field.name())
            .ok_or_else(|| StoreError::broken_rule(format!("the rows have no column `{}`", field.name())))?;
        column_as(column, field.data_type())
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    RecordBatch::try_new(Arc::clone(&layout.schema), columns)
        .map_err(|error| StoreError::failed("fitting rows to the file's columns", error))
}

/// Checks that row keys rise strictly: the bytes, the pruning and the list of vanished keys all rest on it.
#[derive(Debug, Default)]
struct OrderCheck {
    rows: u64,
    last: Option<Vec<Option<String>>>,
}

impl OrderCheck {
    fn check(&mut self, batch: &RecordBatch, key_columns: usize) -> Result<(), StoreError> {
        let Some(last_row) = batch.num_rows().checked_sub(1) else { return Ok(()) };
        let keys = text_columns(batch, key_columns)?;
        let rising = (1..=last_row).all(|row| compare_rows(&keys, row - 1, row) == Ordering::Less);
        let follows = self.last.as_ref().is_none_or(|last| {
            let first = keys.iter().map(|column| value(column, 0));
            last.iter().map(Option::as_deref).cmp(first) == Ordering::Less
        });
        if !(rising && follows) {
            return Err(StoreError::broken_rule("the rows do not rise by their row key, each key once"));
        }
        self.rows += batch.num_rows() as u64;
        self.last = Some(keys.iter().map(|column| value(column, last_row).map(str::to_owned)).collect());
        Ok(())
    }
}

/// The order of two rows by their keys, null before any text.
pub(crate) fn compare_rows(keys: &[&StringArray], left: usize, right: usize) -> Ordering {
    keys.iter().map(|column| value(column, left)).cmp(keys.iter().map(|column| value(column, right)))
}

/// The text of one cell, null before any text.
pub(super) fn value(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// The first `count` columns as text.
pub(super) fn text_columns(batch: &RecordBatch, count: usize) -> Result<Vec<&StringArray>, StoreError> {
    batch
        .columns()
        .iter()
        .take(count)
        .map(|column| {
            let text = column.as_any().downcast_ref::<StringArray>();
            text.ok_or_else(|| StoreError::broken_rule(format!("a row key has type {}, not text", column.data_type())))
        })
        .collect()
}

fn parquet_error(path: &Path, error: ParquetError) -> StoreError {
    let attempted = format!("writing {}", path.display());
    // A full disk comes wrapped in the writer's own error.
    match error {
        ParquetError::External(cause) if cause.is::<std::io::Error>() => StoreError::unavailable(attempted, cause),
        error => StoreError::failed(attempted, error),
    }
}

/// The error of a file system: away or full, unless the name itself cannot be.
pub(super) fn io_error(verb: &str, path: &Path, error: std::io::Error) -> StoreError {
    let attempted = format!("{verb} {}", path.display());
    match error.kind() {
        std::io::ErrorKind::InvalidFilename | std::io::ErrorKind::InvalidInput => StoreError::failed(attempted, error),
        _ => StoreError::unavailable(attempted, error),
    }
}

#[cfg(test)]
mod tests {
    use neartime_engine::OnlineLayout;
    use neartime_model::{Classify, ErrorKind};

    use super::*;
    use crate::testing::{rows, table, users};

    /// The first rows, the footer or whatever was held back: wherever the disk fills up, it is the store that is away.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_no_verdict_on_the_rows() {
        let table = table("user_num_posts", OnlineLayout::PerChunk);
        for count in [0, 1, 100_000] {
            let layout = Layout { schema: table.output.arrow(), key_columns: 1, metadata: Vec::new() };
            let rows = rows(&table, &users(0..count), 1_000);
            let error = encode(PathBuf::from("/dev/full"), layout, rows).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{count} rows: {error:?}");
            assert!(error.to_string().contains("/dev/full"), "{error}");
        }
    }
}
