//! The features store in a bucket: publishers that race, a query that races with them, and what SQL finds by path.

use std::path::Path as FsPath;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use neartime_aws::{Aws, AwsSettings};
use neartime_engine::{Aggregate, FeatureTable, OnlineLayout, OutputColumn, OutputSchema, Role};
use neartime_model::{
    ChunkWidth, Classify, ContentOrder, ErrorKind, FeatureName, FeatureVersion, Fence, FilePath, Generation,
    OutputName, SourceName, Span, SystemClock,
};
use neartime_stores::{FeaturesStore, PartitionFile, Published, SqlSession, StoreError};
use neartime_tests::servers::Servers;
use object_store::path::Path;

const ROWS: i64 = 500;

async fn store(servers: &Servers, bucket: &str, staging: &FsPath) -> FeaturesStore {
    let settings = AwsSettings { endpoint: Some(servers.aws.url()), path_style: true, ..AwsSettings::default() };
    let aws = Aws::connect(settings, Arc::new(SystemClock)).await.unwrap();
    let puts = neartime::bucket_puts(aws.bucket(bucket));
    FeaturesStore::bucket(Arc::new(aws.bucket(bucket)), Path::from("races/features"), puts, staging.to_owned())
}

fn table() -> FeatureTable {
    let column = |name: &str, data_type, role| OutputColumn { name: OutputName::new(name).unwrap(), data_type, role };
    FeatureTable {
        name: FeatureName::new("user_num_posts").unwrap(),
        version: FeatureVersion(1),
        engine: "count",
        source: SourceName::new("horizontals").unwrap(),
        width: ChunkWidth::TEN_MINUTES,
        output: OutputSchema::new(vec![
            column("id", DataType::Utf8, Role::Entity),
            column("actions_count", DataType::Int64, Role::Value(Aggregate::Sum)),
        ]),
        online: OnlineLayout::PerChunk,
        retention: None,
        ratios: Vec::new(),
    }
}

/// The file of the `chunk`th chunk of a day.
fn file(table: &Arc<FeatureTable>, chunk: i64) -> PartitionFile {
    let midnight: neartime_model::Instant = "2018-08-01T00:00:00Z".parse().unwrap();
    PartitionFile {
        table: Arc::clone(table),
        chunk: table.width.chunk_of(midnight + Span::from_mins(10 * chunk)),
        // A name with a byte that S3 and object_store each encode in a way of their own.
        stem: "horizontals.o%2Ex".to_owned(),
        file_path: FilePath::new("in/horizontals/o.x/"),
    }
}

/// Writes `ROWS` rows that all say `value`.
async fn publish(
    store: &FeaturesStore,
    file: &PartitionFile,
    generation: i64,
    value: i64,
) -> Result<Published, StoreError> {
    let ids: StringArray = (0..ROWS).map(|row| Some(format!("{generation:02}-{row:05}"))).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(Int64Array::from_iter_values((0..ROWS).map(|_| value)))];
    let schema = file.table.output.arrow();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
    let rows = futures::stream::iter([batch.map_err(Into::into)]).boxed();
    let order = ContentOrder { version: FeatureVersion(1), generation: Generation(generation) };
    let rows = Box::pin(RecordBatchStreamAdapter::new(schema, rows));
    store.publish(file, order, Fence(generation), rows).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_and_queries_race_in_a_bucket() {
    let Some(servers) = Servers::at_hand() else { return };
    let bucket = format!("races-{}", std::process::id());
    servers.aws.create_bucket(&bucket);
    let staging = tempfile::tempdir().unwrap();
    let store = store(&servers, &bucket, staging.path()).await;
    let table = Arc::new(table());
    let contested = file(&table, 0);
    publish(&store, &contested, 0, 0).await.unwrap();
    let writers = (0..3).map(|writer| {
        let (store, contested) = (store.clone(), contested.clone());
        tokio::spawn(async move {
            for generation in (1 + writer..7).step_by(3) {
                // Who loses too often tries again, as a worker does.
                while let Err(error) = publish(&store, &contested, generation, generation).await {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let session = SqlSession::new(store.clone(), Arc::new(RuntimeEnv::default()), 2).with_feature(Arc::clone(&table));
    let sql = "select min(actions_count), max(actions_count), count(*) from features_store.user_num_posts";
    let numbers = async |sql: &str| -> Vec<i64> {
        let answer = session.query(sql).await.unwrap();
        let batch = answer.batches.first().unwrap();
        batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect()
    };
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let seen = numbers(sql).await;
        assert!(seen[0] == seen[1] && seen[2] == ROWS, "a mixture: {seen:?}");
    }
    futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    assert_eq!(numbers(sql).await, [6, 6, ROWS]);

    // Found by path, in parts of the tree.
    for chunk in [1, 6, 150] {
        publish(&store, &file(&table, chunk), 1, chunk).await.unwrap();
    }
    let of = async |filter: &str| numbers(&format!("{sql} where {filter}")).await;
    assert_eq!(of("day = '01' and hour = '00' and ten_mins = '10'").await, [1, 1, ROWS]);
    assert_eq!(of("day = '02'").await, [150, 150, ROWS]);
    assert_eq!(of("data_chunk >= timestamp '2018-08-01 01:00:00'").await, [6, 150, 2 * ROWS]);
}
