//! Runs a feature on a few rows in memory: what the test of a feature needs, and no more.
//!
//! Everything panics on what is wrong with the rows or the feature, with the whole chain of reasons.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListBuilder, RecordBatch, StringViewArray, StringViewBuilder,
    TimestampMillisecondArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;
use neartime_model::{ChunkWidth, Instant, SourceName, chain};

use crate::engines::instant_type;
use crate::{CompiledFeature, Counts, EventsTable, Feature, compile};

/// Events of a source as its reader would give them: names and columns.
pub fn events(columns: impl IntoIterator<Item = (&'static str, ArrayRef)>) -> RecordBatch {
    let (names, columns): (Vec<&str>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let field = |(name, column): (&str, &ArrayRef)| Field::new(name, column.data_type().clone(), true);
    let fields: Vec<Field> = names.into_iter().zip(&columns).map(field).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the columns are of one length")
}

/// A column of text; `None` is null.
pub fn text<'a>(values: impl IntoIterator<Item: Into<Option<&'a str>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<StringViewArray>())
}

/// A column of ints.
pub fn ints(values: impl IntoIterator<Item: Into<Option<i64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Int64Array>())
}

/// A column of floats.
pub fn floats(values: impl IntoIterator<Item: Into<Option<f64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Float64Array>())
}

/// A column of instants, as `2018-08-01T10:42:34Z`.
pub fn times<'a>(values: impl IntoIterator<Item: Into<Option<&'a str>>>) -> ArrayRef {
    let millis = |text: &str| text.parse::<Instant>().expect("the instant is written as in RFC 3339").as_millis();
    let millis: TimestampMillisecondArray = values.into_iter().map(|value| value.into().map(millis)).collect();
    Arc::new(millis.with_data_type(instant_type()))
}

/// A column of lists of text; `None` is null, among the lists and among their items.
pub fn lists<'a, I>(values: impl IntoIterator<Item = Option<I>>) -> ArrayRef
where
    I: IntoIterator<Item: Into<Option<&'a str>>>,
{
    let mut builder = ListBuilder::new(StringViewBuilder::new());
    for list in values {
        builder.append_option(list.map(|items| items.into_iter().map(Into::into)));
    }
    Arc::new(builder.finish())
}

/// The source of these events, by the name that the feature asks for, in chunks of ten minutes.
pub fn table_of(feature: &dyn Feature, events: &RecordBatch, event_time: &str) -> EventsTable {
    EventsTable {
        source: SourceName::new(feature.source()).expect("the source's name is one"),
        schema: events.schema(),
        event_time: event_time.to_owned(),
        width: ChunkWidth::TEN_MINUTES,
    }
}

/// The rows of a feature over these events, whose time is the column `timestamp`.
pub async fn rows_of(feature: impl Feature + 'static, events: RecordBatch) -> RecordBatch {
    let feature: Arc<dyn Feature> = Arc::new(feature);
    let table = table_of(feature.as_ref(), &events, "timestamp");
    let compiled = compile(feature, &table).unwrap_or_else(|error| panic!("{}", chain(&error)));
    run(&compiled, vec![events]).await.0
}

/// The rows of a compiled feature over these batches, and their counts.
pub async fn run(feature: &CompiledFeature, batches: Vec<RecordBatch>) -> (RecordBatch, Arc<Counts>) {
    let schema = batches.first().expect("there is a batch").schema();
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    let events = Box::pin(RecordBatchStreamAdapter::new(schema, batches));
    let computed = feature.compute(Arc::new(TaskContext::default()), events).await;
    let computed = computed.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let rows: Result<Vec<RecordBatch>, _> = computed.rows.try_collect().await;
    let rows = rows.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let schema = feature.table().output.arrow();
    (concat_batches(&schema, &rows).expect("the rows have the feature's schema"), computed.counts)
}
