//! Tables and rows for the tests of this crate.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use neartime_engine::{Aggregate, FeatureTable, OnlineLayout, OutputColumn, OutputSchema, Role};
use neartime_model::{
    ChunkWidth, ContentOrder, FeatureName, FeatureVersion, FilePath, Generation, OutputName, SourceName,
};

use crate::PartitionFile;

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
