//! A feature as a SQL table.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result, project_schema};
use datafusion::config::{ParquetOptions, TableParquetOptions};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use neartime_engine::FeatureTable;
use object_store::ObjectStore;
use parquet::arrow::async_reader::AsyncFileReader;

use super::partitions::{PathFilter, is_of_path, list_wanted, path_fields, path_values};
use super::snapshot::Snapshot;
use crate::FeaturesStore;
use crate::offline::{PinnedReader, ReadWatch, TAIL_BYTES};

/// Under this URL the features store's objects are known to a query.
const OBJECTS_URL: &str = "features-store://root";

/// The files of a feature as one table: its columns, the partition columns as text, and `data_chunk`.
#[derive(Debug)]
pub(super) struct FeatureTableProvider {
    store: FeaturesStore,
    table: Arc<FeatureTable>,
    schema: TableSchema,
    snapshot: Arc<Snapshot>,
}

impl FeatureTableProvider {
    /// With the `former` measures, which only older files have.
    pub(super) fn new(
        store: FeaturesStore,
        table: Arc<FeatureTable>,
        former: &[Field],
        snapshot: Arc<Snapshot>,
    ) -> Self {
        let schema = TableSchema::builder(file_schema(&table, former))
            .with_table_partition_cols(path_fields(table.width))
            .build();
        Self { store, table, schema, snapshot }
    }
}

/// The columns in the files. Text is read as views, which cost no copy; a measure that a file lacks is null.
fn file_schema(table: &FeatureTable, former: &[Field]) -> SchemaRef {
    let field = |field: &Field| match field.data_type() {
        DataType::Utf8 => field.clone().with_data_type(DataType::Utf8View).with_nullable(true),
        _ => field.clone().with_nullable(true),
    };
    let output = table.output.arrow();
    Arc::new(Schema::new(output.fields().iter().map(AsRef::as_ref).chain(former).map(field).collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for FeatureTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match is_of_path(filter, self.table.width) {
            true => TableProviderFilterPushDown::Exact,
            // Statistics of row groups and pages leave out what they can; the filter itself runs behind the scan.
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filter = PathFilter::new(filters, self.table.width, state)?;
        let wanted = list_wanted(&self.store, &self.table, &filter).await?;
        if wanted.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        let mut files = Vec::with_capacity(wanted.len());
        for file in wanted {
            self.snapshot.pin(&file.meta).map_err(|changed| DataFusionError::External(Box::new(changed)))?;
            files.push(PartitionedFile::new_from_meta(file.meta).with_partition_values(path_values(file.chunk)?));
        }
        let url = ObjectStoreUrl::parse(OBJECTS_URL)?;
        state.runtime_env().register_object_store(url.as_ref(), Arc::clone(self.store.objects()));
        let readers = PinnedReaders {
            objects: Arc::clone(self.store.objects()),
            footers: state.runtime_env().cache_manager.get_file_metadata_cache(),
            snapshot: Arc::clone(&self.snapshot),
        };
        let options = TableParquetOptions { global: self.options(state, &files), ..Default::default() };
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let scan = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(FileGroup::new(files).split_files(state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

impl FeatureTableProvider {
    /// How a scan of these files reads them.
    fn options(&self, state: &dyn Session, files: &[PartitionedFile]) -> ParquetOptions {
        let mut options = state.config_options().execution.parquet.clone();
        // No file of ours has any.
        options.bloom_filter_on_read = false;
        // To look at the pages of a small file costs more than it spares.
        options.enable_page_index &= files.iter().any(|file| file.object_meta.size > TAIL_BYTES);
        options
    }
}

/// Makes the readers of a scan: each reads the listed version of its file or fails.
#[derive(Debug)]
struct PinnedReaders {
    objects: Arc<dyn ObjectStore>,
    footers: Arc<FileMetadataCache>,
    snapshot: Arc<Snapshot>,
}

impl ParquetFileReaderFactory for PinnedReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let watch = ReadWatch {
            scanned_bytes: MetricBuilder::new(metrics).counter("bytes_scanned", partition),
            changed: Arc::clone(self.snapshot.changed()),
            footers: Some(Arc::clone(&self.footers)),
        };
        Ok(Box::new(PinnedReader::new(Arc::clone(&self.objects), file.object_meta, watch)))
    }
}
