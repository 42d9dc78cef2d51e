use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::concat_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;

use super::*;
use crate::trial::{events, floats, ints, run, table_of, text};
use crate::{Feature, SqlFeature, SqlFeatureSpec, compile};

fn spend() -> Arc<dyn Feature> {
    let select = [("id", "id"), ("country", "country"), ("spend", "spend"), ("views", "views")];
    let spec = SqlFeatureSpec {
        name: "spend".to_owned(),
        source: "rows".to_owned(),
        engine: "rollup".to_owned(),
        keys: Some(vec!["id".to_owned(), "country".to_owned()]),
        select: select.map(|(name, expression)| (name.to_owned(), expression.to_owned())).to_vec(),
        ..SqlFeatureSpec::default()
    };
    Arc::new(SqlFeature::new(spec).unwrap())
}

fn views() -> Arc<dyn Feature> {
    let spec = SqlFeatureSpec {
        name: "views".to_owned(),
        source: "rows".to_owned(),
        engine: "rollup".to_owned(),
        keys: Some(vec!["id".to_owned(), "country".to_owned()]),
        select: [("id", "id"), ("country", "country"), ("views", "views")]
            .map(|(name, expression)| (name.to_owned(), expression.to_owned()))
            .to_vec(),
        ..SqlFeatureSpec::default()
    };
    Arc::new(SqlFeature::new(spec).unwrap())
}

fn random_rows(rows: usize, ids: u32) -> RecordBatch {
    let mut random = fastrand::Rng::with_seed(7);
    let id: Vec<String> = (0..rows).map(|_| format!("user-{:08}", random.u32(..ids))).collect();
    let country: Vec<Option<&str>> =
        (0..rows).map(|_| random.choice([Some("za"), Some("Za"), Some(""), None]).unwrap()).collect();
    let spend: Vec<f64> = (0..rows).map(|_| random.f64() * 10_f64.powi(random.i32(-9..9))).collect();
    let views: Vec<i64> = (0..rows).map(|_| random.i64(0..100)).collect();
    events([
        ("id", text(id.iter().map(String::as_str))),
        ("country", text(country)),
        ("spend", floats(spend)),
        ("views", ints(views)),
    ])
}

fn in_batches(rows: &RecordBatch, size: usize) -> Vec<RecordBatch> {
    (0..rows.num_rows()).step_by(size).map(|start| rows.slice(start, size.min(rows.num_rows() - start))).collect()
}

#[tokio::test]
async fn rows_are_the_same_bits_in_any_order_and_any_batches() {
    let rows = random_rows(5_000, 300);
    let feature = spend();
    let feature = compile(Arc::clone(&feature), &table_of(feature.as_ref(), &rows, "id")).unwrap();
    let (whole, counts) = run(&feature, vec![rows.clone()]).await;
    let mut batches = in_batches(&rows, 97);
    fastrand::Rng::with_seed(1).shuffle(&mut batches);
    assert_eq!(run(&feature, batches).await.0, whole);
    assert_eq!((counts.rows_in(), counts.rows_after_preprocess()), (5_000, 5_000));
    assert_eq!(counts.rows_out(), whole.num_rows() as u64);
}

#[tokio::test]
async fn rows_are_sorted_by_bytes_with_nulls_first() {
    let rows = random_rows(2_000, 50);
    let feature = spend();
    let feature = compile(Arc::clone(&feature), &table_of(feature.as_ref(), &rows, "id")).unwrap();
    let sorted = run(&feature, vec![rows]).await.0;
    let (ids, countries) = (sorted.column(0).as_string::<i32>(), sorted.column(1).as_string::<i32>());
    let keys: Vec<_> = ids.iter().zip(countries).collect();
    assert!(keys.is_sorted() && keys.iter().any(|(_, country)| country.is_none()));
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
}

#[tokio::test]
async fn more_groups_than_memory_go_to_disk_and_come_back() {
    // Folded by the plan, and folded in memory until that does not suffice.
    more_groups_than_memory(&spend()).await;
    more_groups_than_memory(&views()).await;
}

async fn more_groups_than_memory(feature: &Arc<dyn Feature>) {
    let rows = random_rows(40_000, 20_000);
    let feature = compile(Arc::clone(feature), &table_of(feature.as_ref(), &rows, "id")).unwrap();
    let expected = run(&feature, vec![rows.clone()]).await.0;
    let within_memory = async |disk: DiskManagerMode| {
        let pool = Arc::new(FairSpillPool::new(4 << 20));
        let disk = DiskManagerBuilder::default().with_mode(disk);
        let runtime =
            RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk).build_arc().unwrap();
        let config = SessionConfig::new().with_sort_spill_reservation_bytes(1 << 20);
        let context = Arc::new(TaskContext::default().with_session_config(config).with_runtime(runtime));
        let batches = futures::stream::iter(in_batches(&rows, 8_192).into_iter().map(Ok));
        let input = Box::pin(RecordBatchStreamAdapter::new(rows.schema(), batches));
        feature.compute(context, input).await.unwrap().rows.try_collect::<Vec<_>>().await
    };
    let spilled = within_memory(DiskManagerMode::OsTmpDirectory).await.unwrap();
    assert_eq!(concat_batches(&expected.schema(), &spilled).unwrap(), expected);
    let exhausted = within_memory(DiskManagerMode::Disabled).await.unwrap_err();
    assert!(matches!(exhausted.find_root(), DataFusionError::ResourcesExhausted(_)), "{exhausted}");
}

#[tokio::test]
async fn columns_are_found_by_name_and_an_error_of_the_input_comes_out() {
    let rows = random_rows(10, 3);
    let feature = spend();
    let feature = compile(Arc::clone(&feature), &table_of(feature.as_ref(), &rows, "id")).unwrap();
    let expected = run(&feature, vec![rows.clone()]).await.0;
    let mut columns: Vec<_> =
        rows.schema().fields().iter().map(|field| field.name().clone()).zip(rows.columns().to_vec()).collect();
    columns.reverse();
    columns.push(("unread".to_owned(), text(vec!["x"; 10])));
    let reordered = RecordBatch::try_from_iter(columns).unwrap();
    assert_eq!(run(&feature, vec![reordered]).await.0, expected);
    let broken = futures::stream::iter([Ok(rows.clone()), datafusion::common::exec_err!("the file broke")]);
    let input = Box::pin(RecordBatchStreamAdapter::new(rows.schema(), broken));
    let computed = feature.compute(Arc::new(TaskContext::default()), input).await.unwrap();
    let error = computed.rows.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("the file broke"), "{error}");
}

#[tokio::test]
async fn a_sum_that_overflows_fails_the_run() {
    let rows = events([
        ("id", text(["a", "a"])),
        ("country", text(["za", "za"])),
        ("spend", floats([1.0, 1.0])),
        ("views", ints([i64::MAX, 1])),
    ]);
    let feature = spend();
    let feature = compile(Arc::clone(&feature), &table_of(feature.as_ref(), &rows, "id")).unwrap();
    let input = Box::pin(RecordBatchStreamAdapter::new(rows.schema(), futures::stream::iter([Ok(rows.clone())])));
    let computed = feature.compute(Arc::new(TaskContext::default()), input).await.unwrap();
    let error = computed.rows.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("integer overflow: the sum 9223372036854775808"), "{error}");
}
