//! Reading one version of one published file, and no other.
//!
//! Every read carries If-Match on the version that was listed. If the file was replaced meanwhile, the read fails with
//! [`FileChanged`], and whoever asked starts again: no answer mixes two versions of a file.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use datafusion::datasource::physical_plan::parquet::CachedParquetMetaData;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache};
use datafusion::physical_plan::metrics::Count;
use futures::FutureExt;
use futures::future::BoxFuture;
use neartime_model::FileChanged;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, coalesce_ranges};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

/// How much of a file's end is fetched with its footer: a small file comes whole, with one request.
pub(crate) const TAIL_BYTES: u64 = 64 * 1024;

/// Ranges that lie no farther apart are fetched with one request.
const COALESCED_BYTES: u64 = 128 * 1024;

/// The file is no Parquet any more, or never was.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} is no readable Parquet file: `neartime backfill` makes it again; if it is not neartime's, take it away"
)]
pub(crate) struct Unreadable {
    path: Path,
    #[source]
    cause: ParquetError,
}

/// What a reader tells whoever set it up, and what it may share with other readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadWatch {
    /// Counts the bytes fetched.
    pub(crate) scanned_bytes: Count,
    /// Set when a file turned out to be replaced.
    pub(crate) changed: Arc<AtomicBool>,
    /// Footers of versions seen before.
    pub(crate) footers: Option<Arc<FileMetadataCache>>,
}

/// Reads one version of one file.
#[derive(Debug)]
pub(crate) struct PinnedReader {
    objects: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    tail: Option<Bytes>,
    watch: ReadWatch,
}

impl PinnedReader {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, meta: ObjectMeta, watch: ReadWatch) -> Self {
        Self { objects, meta, tail: None, watch }
    }

    /// The part of `range` that the tail holds, if it holds all of it.
    fn in_tail(&self, range: &Range<u64>) -> Option<Bytes> {
        let tail = self.tail.as_ref()?;
        let start = range.start.checked_sub(self.meta.size - tail.len() as u64)?;
        let length = range.end.checked_sub(range.start)?;
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(start + length).ok()?);
        (end <= tail.len()).then(|| tail.slice(start..end))
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        // What a garbled footer asks for is no matter of the store's.
        if range.start >= range.end || range.end > self.meta.size {
            return Err(ParquetError::EOF(format!("{range:?} of {} bytes is asked for", self.meta.size)));
        }
        if let Some(bytes) = self.in_tail(&range) {
            return Ok(bytes);
        }
        let options = GetOptions {
            if_match: self.meta.e_tag.clone(),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let found = self.objects.get_opts(&self.meta.location, options).await;
        let bytes = match found {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        let bytes = bytes.map_err(|error| self.read_error(error))?;
        self.watch.scanned_bytes.add(bytes.len());
        Ok(bytes)
    }

    fn read_error(&self, error: object_store::Error) -> ParquetError {
        match error {
            object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. } => {
                self.watch.changed.store(true, Ordering::Relaxed);
                ParquetError::External(Box::new(FileChanged { file: self.meta.location.to_string() }))
            }
            error => ParquetError::External(Box::new(error)),
        }
    }

    fn footer_error(&self, error: ParquetError) -> ParquetError {
        match error {
            // What the store said.
            ParquetError::External(_) => error,
            cause => ParquetError::External(Box::new(Unreadable { path: self.meta.location.clone(), cause })),
        }
    }

    fn cached_footer(&self) -> Option<Arc<ParquetMetaData>> {
        let entry = self.watch.footers.as_ref()?.get(&self.meta.location)?;
        if entry.meta.e_tag != self.meta.e_tag || !entry.is_valid_for(&self.meta) {
            return None;
        }
        let footer = entry.file_metadata.as_any().downcast_ref::<CachedParquetMetaData>()?;
        Some(Arc::clone(footer.parquet_metadata()))
    }

    async fn load_footer(&mut self) -> Result<Arc<ParquetMetaData>> {
        if let Some(footer) = self.cached_footer() {
            return Ok(footer);
        }
        let size = self.meta.size;
        self.tail = Some(self.fetch(size.saturating_sub(TAIL_BYTES)..size).await?);
        // Of a file that came whole nothing is spared by looking at its pages first.
        let pages = if size > TAIL_BYTES { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
        let reader = ParquetMetaDataReader::new().with_page_index_policy(pages);
        let footer = Arc::new(reader.load_and_finish(&mut *self, size).await?);
        if let Some(cache) = &self.watch.footers {
            let cached = Arc::new(CachedParquetMetaData::new(Arc::clone(&footer)));
            cache.put(&self.meta.location, CachedFileMetadataEntry::new(self.meta.clone(), cached));
        }
        Ok(footer)
    }
}

impl AsyncFileReader for PinnedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        self.fetch(range).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            let this = &*self;
            coalesce_ranges(&ranges, |range| this.fetch(range), COALESCED_BYTES).await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move { self.load_footer().await.map_err(|error| self.footer_error(error)) }.boxed()
    }
}
