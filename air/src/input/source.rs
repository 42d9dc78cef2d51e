//! A file of the features store as a source to merge.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use super::files::{Known, Listed, content_of};
use super::intervals::{Columns, IntervalReader};
use super::store::FeatureFiles;
use crate::error::AirError;
use crate::merge::{Block, Source};
use crate::progress::Steps;
use crate::udb::Dictionary;

/// What sources found out about their files, by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found(Arc<Mutex<BTreeMap<String, Known>>>);

impl Found {
    /// Takes all of it.
    pub(crate) fn take(&self) -> BTreeMap<String, Known> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn insert(&self, path: &str, known: Known) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), known);
    }
}

/// What all files of a feature are read with.
#[derive(Clone, Debug)]
pub(crate) struct FeatureReader {
    pub(crate) store: FeatureFiles,
    pub(crate) columns: Arc<Columns>,
    pub(crate) dictionary: Arc<Dictionary>,
    pub(crate) found: Found,
    /// Told of each file that has been read.
    pub(crate) steps: Arc<Steps>,
}

/// One file, opened when it is first read.
#[derive(Debug)]
pub(crate) struct FeatureSource {
    reader: FeatureReader,
    path: String,
    open: Option<IntervalReader>,
}

impl FeatureSource {
    pub(crate) fn new(reader: FeatureReader, file: &Listed) -> Self {
        Self { reader, path: file.path.clone(), open: None }
    }

    fn read(&mut self) -> Result<Option<Block>, AirError> {
        let reader = match &mut self.open {
            Some(reader) => reader,
            None => {
                let FeatureReader { store, columns, dictionary, found, .. } = &self.reader;
                let (file, id) = store.open(&self.path)?.ok_or(AirError::Unsettled)?;
                // What is hashed is what is read: the handle stays with it, whatever comes to lie under the path.
                let content = content_of(&self.path, &file, id.size_bytes)?;
                let (reader, order) = IntervalReader::open(&self.path, file, columns, dictionary)?;
                found.insert(&self.path, Known { id, order, content });
                self.open.insert(reader)
            }
        };
        reader.next()
    }
}

impl Source for FeatureSource {
    fn next(&mut self) -> Result<Option<Block>, AirError> {
        // The Parquet reader panics on some damaged files.
        let read = std::panic::catch_unwind(AssertUnwindSafe(|| self.read())).unwrap_or_else(|_| {
            let source = "the parquet reader panicked".into();
            Err(AirError::DamagedFeature { path: self.path.clone(), source })
        });
        if matches!(read, Ok(None)) {
            self.reader.steps.step();
        }
        read
    }
}
