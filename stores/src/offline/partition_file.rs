//! The one fixed name under which a run publishes its rows.

use std::sync::Arc;

use neartime_engine::FeatureTable;
use neartime_model::{Chunk, ContentOrder, FilePath, Partition};
use object_store::path::Path;

use crate::StoreError;

/// The file of one run: which feature, which chunk, which path of the source.
#[derive(Clone, Debug)]
pub struct PartitionFile {
    /// The feature whose rows it holds.
    pub table: Arc<FeatureTable>,
    /// The chunk that they were computed from.
    pub chunk: Chunk,
    /// The file's name without extension, as [`neartime_model::partition_file_stem`] makes it.
    pub stem: String,
    /// The task's path, which the online rows of a count, membership or rollup carry.
    pub file_path: FilePath,
}

impl PartitionFile {
    /// Its folder below the root of the features store: `<feature>/year=2018/month=08/…`.
    ///
    /// # Errors
    /// Failed for a chunk beyond the civil calendar.
    pub fn folder(&self) -> Result<Path, StoreError> {
        let partition = Partition::of(self.chunk)
            .map_err(|error| StoreError::failed(format!("placing a chunk of `{}`", self.table.name), error))?;
        self.parse(format!("{}/{partition}", self.table.name))
    }

    /// Its key below the root of the features store: `<folder>/<stem>.parquet`.
    ///
    /// # Errors
    /// As [`PartitionFile::folder`].
    pub fn key(&self) -> Result<Path, StoreError> {
        self.parse(format!("{}/{}.parquet", self.folder()?, self.stem))
    }

    /// The key of the hidden list of its vanished keys: `<folder>/.<stem>.vanished`.
    pub(crate) fn vanished_key(&self) -> Result<Path, StoreError> {
        self.parse(format!("{}/.{}.vanished", self.folder()?, self.stem))
    }

    // `Path::parse` takes the text as it is; `Path::from` would encode the stem's per cent signs once more.
    fn parse(&self, text: String) -> Result<Path, StoreError> {
        Path::parse(&text).map_err(|error| StoreError::failed(format!("naming a file of `{}`", self.table.name), error))
    }
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The file stands at its name, durably.
    Written {
        /// Rows in the file.
        rows: u64,
        /// Size of the file.
        size_bytes: u64,
    },
    /// A file of a higher order was there, and stays.
    Superseded {
        /// The order of that file.
        found: ContentOrder,
    },
}
