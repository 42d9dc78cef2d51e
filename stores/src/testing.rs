//! Tables and rows for the tests of this crate.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use neartime_engine::{Aggregate, FeatureTable, OnlineLayout, OutputColumn, OutputSchema, Role};
use neartime_model::{
    ChunkWidth, ContentOrder, FeatureName, FeatureVersion, FilePath, Generation, OutputName, SourceName,
};

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Attribute, AttributeValue, ObjectStore, PutMode, PutOptions, UpdateVersion};

use crate::{ConditionalPut, FeaturesStore, PartitionFile, PutCondition, PutOutcome, StoreError};

/// A row of a test table: entity, country, value.
pub(crate) type TestRow = (Option<String>, Option<String>, i64);

/// A table with the keys `id` and `country` and one integer value.
pub(crate) fn table(name: &str, online: OnlineLayout) -> FeatureTable {
    let (engine, value, aggregate) = match online {
        OnlineLayout::Latest => ("last_action_time", "last_action_timestamp", Aggregate::Max),
        OnlineLayout::PerChunk => ("count", "actions_count", Aggregate::Sum),
    };
    FeatureTable {
        name: FeatureName::new(name).unwrap(),
        version: FeatureVersion(1),
        engine,
        source: SourceName::new("horizontals").unwrap(),
        width: ChunkWidth::TEN_MINUTES,
        output: OutputSchema::new(vec![
            column("id", DataType::Utf8, Role::Entity),
            column("country", DataType::Utf8, Role::Key),
            column(value, DataType::Int64, Role::Value(aggregate)),
        ]),
        online,
        retention: None,
        ratios: Vec::new(),
    }
}

pub(crate) fn column(name: &str, data_type: DataType, role: Role) -> OutputColumn {
    OutputColumn { name: OutputName::new(name).unwrap(), data_type, role }
}

/// The file of `table` for the chunk that holds `at`.
pub(crate) fn file(table: &FeatureTable, at: &str) -> PartitionFile {
    PartitionFile {
        table: Arc::new(table.clone()),
        chunk: table.width.chunk_of(at.parse().unwrap()),
        stem: "horizontals.olx.android".to_owned(),
        file_path: FilePath::new("in/horizontals/olx/android/"),
    }
}

pub(crate) fn order(version: u32, generation: i64) -> ContentOrder {
    ContentOrder { version: FeatureVersion(version), generation: Generation(generation) }
}

/// Sorted rows with ids `u<n>`, no country and the value `n`.
pub(crate) fn users(numbers: impl IntoIterator<Item = i64>) -> Vec<TestRow> {
    let mut rows: Vec<TestRow> = numbers.into_iter().map(|n| (Some(format!("u{n}")), None, n)).collect();
    rows.sort();
    rows
}

pub(crate) fn batch(table: &FeatureTable, rows: &[TestRow]) -> RecordBatch {
    let ids: StringArray = rows.iter().map(|row| row.0.as_deref()).collect();
    let countries: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
    let values: Int64Array = rows.iter().map(|row| row.2).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(countries), Arc::new(values)];
    RecordBatch::try_new(table.output.arrow(), columns).unwrap()
}

/// The rows as a stream, cut into batches of `batch_rows`.
pub(crate) fn rows(table: &FeatureTable, rows: &[TestRow], batch_rows: usize) -> SendableRecordBatchStream {
    let batches: Vec<_> = rows.chunks(batch_rows).map(|rows| Ok(batch(table, rows))).collect();
    stream(table, batches)
}

pub(crate) fn stream(
    table: &FeatureTable,
    batches: Vec<datafusion::error::Result<RecordBatch>>,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(table.output.arrow(), futures::stream::iter(batches)))
}

/// The rows of batches that have the columns of a test table.
pub(crate) fn rows_of(batches: &[RecordBatch]) -> Vec<TestRow> {
    let mut found = Vec::new();
    for batch in batches {
        let text = |index: usize| {
            let column = datafusion::arrow::compute::cast(batch.column(index), &DataType::Utf8).unwrap();
            column.as_any().downcast_ref::<StringArray>().unwrap().clone()
        };
        let (ids, countries) = (text(0), text(1));
        let values = batch.column(2).as_any().downcast_ref::<Int64Array>().unwrap();
        let owned = |cell: Option<&str>| cell.map(str::to_owned);
        let rows = ids.iter().zip(&countries).zip(values.values());
        found.extend(rows.map(|((id, country), value)| (owned(id), owned(country), *value)));
    }
    found
}

/// A bucket in memory, whose puts may be made to go wrong.
#[derive(Debug, Default)]
pub(crate) struct BucketInMemory {
    pub(crate) objects: Arc<InMemory>,
    /// What goes wrong with the next puts, one after the other.
    pub(crate) faults: Mutex<VecDeque<PutFault>>,
}

/// What may go wrong with a put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PutFault {
    /// Another put to the key is under way.
    Busy,
    /// The put is made and its answer is lost; sent again, it meets itself.
    AnswerLost,
    /// The bucket is away.
    Away,
}

impl BucketInMemory {
    /// A features store in the bucket `prefix` of it, staged in `staging`.
    pub(crate) fn store(self: &Arc<Self>, staging: &std::path::Path) -> FeaturesStore {
        let objects = Arc::clone(&self.objects) as Arc<dyn ObjectStore>;
        let puts = Arc::clone(self) as Arc<dyn ConditionalPut>;
        FeaturesStore::bucket(objects, Path::from("lake/features"), puts, staging.to_owned())
    }
}

#[async_trait]
impl ConditionalPut for BucketInMemory {
    async fn put_file(
        &self,
        file: &std::path::Path,
        key: &Path,
        condition: PutCondition<'_>,
        metadata: &[(&str, String)],
    ) -> Result<PutOutcome, StoreError> {
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            Some(PutFault::Busy) => return Ok(PutOutcome::Busy),
            Some(PutFault::Away) => return Err(StoreError::unavailable("putting", "the bucket is away")),
            Some(PutFault::AnswerLost) | None => {}
        }
        let mode = match condition {
            PutCondition::Absent => PutMode::Create,
            PutCondition::Version(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag.to_owned()), version: None }),
        };
        let named = |(name, value): &(&str, String)| {
            (Attribute::Metadata((*name).to_owned().into()), AttributeValue::from(value.clone()))
        };
        let options = PutOptions { mode, attributes: metadata.iter().map(named).collect(), ..PutOptions::default() };
        match self.objects.put_opts(key, std::fs::read(file).unwrap().into(), options).await {
            Ok(_) if fault.is_some() => Ok(PutOutcome::Changed),
            Ok(_) => Ok(PutOutcome::Done),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(PutOutcome::Changed)
            }
            Err(error) => Err(StoreError::unavailable("putting", error)),
        }
    }
}
