//! What a published file says of itself, in the key-value metadata of its Parquet footer.
//!
//! | key | value |
//! |---|---|
//! | `neartime.feature` | name of the feature |
//! | `neartime.version` | its version, decimal |
//! | `neartime.generation` | generation of the input, decimal |
//! | `neartime.engine` | name of the engine |
//! | `neartime.source` | name of the source |
//! | `neartime.file_path` | the task's path, may be empty |
//! | `neartime.data_chunk` | first instant of the chunk, RFC 3339 UTC |
//! | `neartime.chunk` | width of the chunk, `10m` |
//! | `neartime.row_key` | columns of the row key, in order, joined by commas |
//!
//! Nothing of the run itself stands there (no clock, no fence, no host), so that the same input gives the same bytes.
//! The hidden list of vanished keys has `neartime.fence` alone: the claim that they are to be deleted at, at the least.

use std::fs::File;
use std::path::Path;

use neartime_model::{ContentOrder, FeatureVersion, Fence, FilePath, Generation};
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaDataReader};

use super::PartitionFile;

const FEATURE: &str = "neartime.feature";
const VERSION: &str = "neartime.version";
const GENERATION: &str = "neartime.generation";
const ENGINE: &str = "neartime.engine";
const SOURCE: &str = "neartime.source";
const FILE_PATH: &str = "neartime.file_path";
const DATA_CHUNK: &str = "neartime.data_chunk";
const CHUNK: &str = "neartime.chunk";
const ROW_KEY: &str = "neartime.row_key";
const FENCE: &str = "neartime.fence";

/// What the footer of a published file says that readers act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Which content wins.
    pub order: ContentOrder,
    /// The task's path.
    pub file_path: FilePath,
}

impl Footer {
    /// The metadata of a file of this order.
    pub(super) fn write(file: &PartitionFile, order: ContentOrder) -> Vec<KeyValue> {
        let table = &file.table;
        let row_key: Vec<&str> = table.output.row_key().map(|column| column.name.as_str()).collect();
        let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        vec![
            entry(FEATURE, table.name.to_string()),
            entry(VERSION, order.version.to_string()),
            entry(GENERATION, order.generation.to_string()),
            entry(ENGINE, table.engine.to_owned()),
            entry(SOURCE, table.source.to_string()),
            entry(FILE_PATH, file.file_path.to_string()),
            entry(DATA_CHUNK, file.chunk.start().to_string()),
            entry(CHUNK, file.chunk.width().to_string()),
            entry(ROW_KEY, row_key.join(",")),
        ]
    }

    /// Reads that of a local file; `None` if it cannot be read or is none of ours.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&File::open(path).ok()?).ok()?;
        Self::read(metadata.file_metadata())
    }

    /// The copy that an object carries, for people who look at a bucket without a Parquet reader.
    pub(super) fn as_object_metadata(&self) -> Vec<(&'static str, String)> {
        vec![
            ("neartime-version", self.order.version.to_string()),
            ("neartime-generation", self.order.generation.to_string()),
        ]
    }

    /// Reads it back; `None` if the file is none of ours.
    pub(super) fn read(metadata: &FileMetaData) -> Option<Self> {
        let entries = metadata.key_value_metadata()?;
        let value = |key: &str| entries.iter().find(|entry| entry.key == key)?.value.as_deref();
        let version = FeatureVersion(value(VERSION)?.parse().ok()?);
        let generation = Generation(value(GENERATION)?.parse().ok()?);
        let file_path = FilePath::new(value(FILE_PATH)?);
        Some(Self { order: ContentOrder { version, generation }, file_path })
    }
}

/// The metadata of a list of vanished keys.
pub(super) fn of_vanished(fence: Fence) -> Vec<KeyValue> {
    vec![KeyValue::new(FENCE.to_owned(), fence.to_string())]
}

/// The fence of a list of vanished keys.
pub(super) fn fence_of(metadata: &FileMetaData) -> Option<Fence> {
    let entry = metadata.key_value_metadata()?.iter().find(|entry| entry.key == FENCE)?;
    entry.value.as_deref()?.parse().ok().map(Fence)
}
