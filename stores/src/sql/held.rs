//! The rows of an answer that is complete before its first row is shown: a file that is replaced while a query runs
//! starts it again, and what was shown could not be taken back. Some rows are held in memory, the rest on disk.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SpillFile};
use futures::TryStreamExt as _;

/// How many bytes of rows are held in memory.
pub(super) const HELD_BYTES: usize = 64 << 20;

/// Rows, in order: those in memory, then those on disk. The file goes with the value.
pub struct HeldRows {
    memory: std::vec::IntoIter<RecordBatch>,
    disk: Option<Spilled>,
}

/// Rows on disk that are being read.
struct Spilled {
    rows: StreamReader<BufReader<File>>,
    _file: Arc<dyn SpillFile>,
}

impl fmt::Debug for HeldRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldRows").field("on_disk", &self.disk.is_some()).finish_non_exhaustive()
    }
}

impl HeldRows {
    /// Takes all rows of a stream: `most` bytes of them into memory, and the rest into a temporary file of `runtime`.
    pub(super) async fn collect(
        mut rows: SendableRecordBatchStream,
        runtime: &RuntimeEnv,
        most: usize,
    ) -> Result<Self> {
        let (mut memory, mut held, mut spilling) = (Vec::new(), 0, None);
        while let Some(batch) = rows.try_next().await? {
            let batch = compact(&batch)?;
            held += batch.get_array_memory_size();
            if held <= most {
                memory.push(batch);
                continue;
            }
            let (writer, _) = match &mut spilling {
                Some(spilling) => spilling,
                none => {
                    let file = runtime.disk_manager.create_tmp_file("the rows of an answer")?;
                    let out = BufWriter::new(File::create(path_of(&file)?)?);
                    none.insert((StreamWriter::try_new(out, &batch.schema())?, file))
                }
            };
            writer.write(&batch)?;
        }
        let disk = match spilling {
            None => None,
            Some((mut writer, file)) => {
                writer.finish()?;
                drop(writer);
                let rows = StreamReader::try_new(BufReader::new(File::open(path_of(&file)?)?), None)?;
                Some(Spilled { rows, _file: file })
            }
        };
        Ok(Self { memory: memory.into_iter(), disk })
    }

    #[cfg(test)]
    pub(super) fn file(&self) -> Option<std::path::PathBuf> {
        self.disk.as_ref().and_then(|spilled| spilled._file.path()).map(Path::to_owned)
    }
}

impl Iterator for HeldRows {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let held = self.memory.next().map(Ok);
        held.or_else(|| self.disk.as_mut()?.rows.next())
    }
}

fn path_of(file: &Arc<dyn SpillFile>) -> Result<&Path> {
    let no_file = || DataFusionError::ResourcesExhausted("there is no disk for the rows of an answer".to_owned());
    file.path().ok_or_else(no_file)
}

/// Lets go of what a batch's texts share with the rows that they were taken from.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let compact = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    if batch.num_columns() == 0 {
        return Ok(batch.clone());
    }
    Ok(RecordBatch::try_new(batch.schema(), batch.columns().iter().map(compact).collect())?)
}
