//! One version of one published file, open for reading.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use neartime_model::{Fence, FileChanged};
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;

use super::adapt::batch_as;
use super::footer::{Footer, fence_of};
use super::keys::KeyStream;
use super::reader::{PinnedReader, ReadWatch};
use crate::StoreError;

/// Rows of one batch, which is one transaction of an online store.
const BATCH_ROWS: usize = 16 * 1024;

/// One version of one published file: whatever replaces it, these are the rows of this version or an error.
#[derive(Clone, Debug)]
pub struct PublishedFile {
    objects: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    metadata: ArrowReaderMetadata,
    footer: Option<Footer>,
}

impl PublishedFile {
    /// Reads the footer of the version that `meta` names.
    pub(super) async fn open(objects: Arc<dyn ObjectStore>, meta: ObjectMeta) -> Result<Self, StoreError> {
        let mut reader = PinnedReader::new(Arc::clone(&objects), meta.clone(), ReadWatch::default());
        // The decoder may panic on bytes that are no Parquet; that is an error like any other here.
        let loaded = AssertUnwindSafe(ArrowReaderMetadata::load_async(&mut reader, Default::default())).catch_unwind();
        let metadata = match loaded.await {
            Ok(loaded) => loaded.map_err(|error| read_error(&meta, error))?,
            Err(_) => return Err(corrupt(&meta)),
        };
        let footer = Footer::read(metadata.metadata().file_metadata());
        Ok(Self { objects, meta, metadata, footer })
    }

    /// Which version of which object it is.
    pub fn version(&self) -> &ObjectMeta {
        &self.meta
    }

    /// What its footer says; `None` if the file is none of ours.
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// Of a list of vanished keys: the claim that they are to be deleted at, at the least.
    pub(crate) fn fence(&self) -> Option<Fence> {
        fence_of(self.metadata.metadata().file_metadata())
    }

    /// Its rows as the table has them today: columns that the file lacks are null.
    ///
    /// # Errors
    /// The stream ends with an error if the file is replaced meanwhile, is corrupt, or its store is away.
    pub fn rows(&self, schema: &SchemaRef) -> Result<SendableRecordBatchStream, StoreError> {
        let batches = self.batches(schema)?.map_err(|error| DataFusionError::External(Box::new(error)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), batches)))
    }

    /// Its row keys. A file that lacks one of the key columns has none.
    pub(crate) fn keys(&self, schema: &SchemaRef) -> Result<KeyStream, StoreError> {
        let has = |name: &str| self.metadata.schema().column_with_name(name).is_some();
        if schema.fields().iter().all(|field| has(field.name())) {
            self.batches(schema)
        } else {
            Ok(super::keys::none())
        }
    }

    pub(crate) fn batches(
        &self,
        schema: &SchemaRef,
    ) -> Result<BoxStream<'static, Result<RecordBatch, StoreError>>, StoreError> {
        let reader = PinnedReader::new(Arc::clone(&self.objects), self.meta.clone(), ReadWatch::default());
        let reader: Box<dyn AsyncFileReader> = Box::new(reader);
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, self.metadata.clone());
        let wanted = schema.fields().iter().map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(builder.parquet_schema(), wanted);
        let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        let decoded = builder.build().map_err(|error| read_error(&self.meta, error))?;
        let (meta, schema) = (self.meta.clone(), Arc::clone(schema));
        let batches = stream::try_unfold(decoded, move |mut decoded| {
            let (meta, schema) = (meta.clone(), Arc::clone(&schema));
            async move {
                let next = AssertUnwindSafe(decoded.try_next()).catch_unwind().await.map_err(|_| corrupt(&meta))?;
                let next = next.map_err(|error| read_error(&meta, error))?;
                next.map(|batch| Ok((batch_as(&batch, &schema)?, decoded))).transpose()
            }
        });
        Ok(batches.boxed())
    }
}

fn read_error(meta: &ObjectMeta, error: ParquetError) -> StoreError {
    let attempted = format!("reading {}", meta.location);
    match error {
        ParquetError::External(cause) if cause.is::<FileChanged>() || cause.is::<object_store::Error>() => {
            StoreError::unavailable(attempted, cause)
        }
        error => StoreError::failed(attempted, error),
    }
}

fn corrupt(meta: &ObjectMeta) -> StoreError {
    StoreError::broken_rule(format!("{} is no readable parquet: run its task again", meta.location))
}

/// Whether an error only says that the file was replaced while it was read.
pub(crate) fn is_changed(error: &StoreError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<FileChanged>() {
            return true;
        }
        cause = error.source();
    }
    false
}
