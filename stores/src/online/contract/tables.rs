//! The tables against a naive map in which the highest timestamp wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMillisecondType};
use datafusion::arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use neartime_engine::{Aggregate, FeatureTable, OnlineLayout, OutputSchema, Role};
use neartime_model::{Classify, ErrorKind, Fence, FilePath, Instant, Span};

use super::{AT, Backend, keys};
use crate::testing::{TestRow, batch, column, file, rows_of, users};

/// Entity, chunk, path and country; fence, and value or tombstone.
type Naive = BTreeMap<(String, usize, usize, Option<String>), (i64, Option<i64>)>;

async fn read(backend: &Backend, table: &FeatureTable, entity: &str) -> Vec<TestRow> {
    read_between(backend, table, entity, None).await
}

async fn read_between(
    backend: &Backend,
    table: &FeatureTable,
    entity: &str,
    chunks: Option<std::ops::Range<Instant>>,
) -> Vec<TestRow> {
    let rows = backend.store.read(&Arc::new(table.clone()), entity, chunks).await.unwrap();
    let mut found = rows_of(&rows.try_collect::<Vec<_>>().await.unwrap());
    found.sort();
    found
}

pub(in crate::online) async fn per_chunk_rows_are_last_writer_wins(backend: &Backend) {
    let table = backend.table("user_num_posts", OnlineLayout::PerChunk).await;
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut naive: Naive = BTreeMap::new();
        let mut fences: Vec<i64> = (0..40).collect();
        random.shuffle(&mut fences);
        for fence in fences {
            let (chunk, path) = (random.usize(0..2), random.usize(0..2));
            let mut file = file(&table, ["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z"][chunk]);
            file.file_path = FilePath::new(["in/a/", "in/b/"][path]);
            let deleting = random.u8(0..3) == 0;
            let mut rows: BTreeMap<(Option<String>, Option<String>), i64> = BTreeMap::new();
            for _ in 0..random.usize(1..6) {
                let country = [None, Some("gh".to_owned()), Some("za".to_owned())][random.usize(0..3)].clone();
                rows.insert((Some(format!("s{seed}u{}", random.u8(0..3))), country), random.i64(0..1_000));
            }
            let rows: Vec<TestRow> = rows.into_iter().map(|((id, country), value)| (id, country, value)).collect();
            // The same change once more is no change.
            for _ in 0..random.u8(1..3) {
                if deleting {
                    backend.store.delete(&file, Fence(fence), keys(&table, &rows)).await.unwrap();
                } else {
                    backend.store.write(&file, Fence(fence), batch(&table, &rows)).await.unwrap();
                }
            }
            for (id, country, value) in rows {
                let cell = naive.entry((id.unwrap(), chunk, path, country)).or_insert((i64::MIN, None));
                if fence > cell.0 {
                    *cell = (fence, (!deleting).then_some(value));
                }
            }
        }
        for user in 0..3 {
            let entity = format!("s{seed}u{user}");
            let mut wanted: Vec<TestRow> = naive
                .iter()
                .filter(|((id, ..), _)| *id == entity)
                .filter_map(|((id, .., country), (_, value))| Some((Some(id.clone()), country.clone(), (*value)?)))
                .collect();
            wanted.sort();
            assert_eq!(read(backend, &table, &entity).await, wanted, "seed {seed}");
        }
    }
}

pub(in crate::online) async fn the_latest_row_is_the_one_of_the_latest_event(backend: &Backend) {
    let table = backend.table("user_last_login", OnlineLayout::Latest).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut naive: BTreeMap<String, i64> = BTreeMap::new();
    for fence in 0..200 {
        let (user, seconds) = (format!("u{}", random.u8(0..5)), random.i64(1_533_000_000..1_533_200_000));
        let file = file(&table, AT);
        // The fence must not matter: it falls while the events go on.
        let row = (Some(user.clone()), None, seconds);
        backend.store.write(&file, Fence(200 - fence), batch(&table, &[row])).await.unwrap();
        let latest = naive.entry(user).or_insert(seconds);
        *latest = seconds.max(*latest);
    }
    for (user, seconds) in naive {
        assert_eq!(read(backend, &table, &user).await, [(Some(user), None, seconds)]);
    }
    let window = Some(AT.parse().unwrap()..AT.parse().unwrap());
    let refused = backend.store.read(&Arc::new(table.clone()), "u1", window).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(backend.store.delete(&file(&table, AT), Fence(1), keys(&table, &users([1]))).await.is_err());
}

pub(in crate::online) async fn rows_without_an_entity_are_not_written(backend: &Backend) {
    let table = backend.table("user_num_posts", OnlineLayout::PerChunk).await;
    let rows = [(None, Some("gh".to_owned()), 5), (Some("u1".to_owned()), None, 1)];
    backend.store.write(&file(&table, AT), Fence(1), batch(&table, &rows)).await.unwrap();
    backend.store.delete(&file(&table, AT), Fence(2), keys(&table, &rows[..1])).await.unwrap();
    assert_eq!(read(backend, &table, "").await, []);
    assert_eq!(read(backend, &table, "u1").await, [(Some("u1".to_owned()), None, 1)]);
}

pub(in crate::online) async fn windows_are_half_open_by_chunk(backend: &Backend) {
    let table = backend.table("user_num_posts", OnlineLayout::PerChunk).await;
    for (at, value) in [("2018-08-01T10:30:00Z", 1), ("2018-08-01T10:40:00Z", 2), ("2018-08-01T10:50:00Z", 4)] {
        let rows = batch(&table, &[(Some("u1".to_owned()), None, value)]);
        backend.store.write(&file(&table, at), Fence(1), rows).await.unwrap();
    }
    let cases = [
        ("2018-08-01T10:30:00Z", "2018-08-01T10:50:00Z", 3),
        ("2018-08-01T10:30:00.000001Z", "2018-08-01T10:50:00.000001Z", 6),
        ("2018-08-01T10:40:00Z", "2018-08-01T10:40:00Z", 0),
    ];
    for (from, to, sum) in cases {
        let window = from.parse().unwrap()..to.parse().unwrap();
        let found = read_between(backend, &table, "u1", Some(window)).await;
        assert_eq!(found.iter().map(|row| row.2).sum::<i64>(), sum, "[{from}, {to})");
    }
}

pub(in crate::online) async fn retention_counts_from_the_end_of_the_chunk(backend: &Backend) {
    for layout in [OnlineLayout::PerChunk, OnlineLayout::Latest] {
        let name = if layout == OnlineLayout::Latest { "kept_latest" } else { "kept_chunks" };
        let table = FeatureTable { retention: Some(Span::from_days(1)), ..backend.missing_table(name, layout) };
        backend.store.ensure(&table).await.unwrap();
        let file = file(&table, AT);
        backend.set_clock(file.chunk.end() + Span::from_days(1) - Span::from_secs(2));
        let write = || backend.store.write(&file, Fence(1), batch(&table, &users([1])));
        write().await.unwrap();
        assert_eq!(read(backend, &table, "u1").await.len(), 1, "two seconds are left");
        backend.pass(Span::from_secs(3)).await;
        assert_eq!(read(backend, &table, "u1").await, []);
        // A replay does not extend it.
        write().await.unwrap();
        assert_eq!(read(backend, &table, "u1").await, []);
    }
}

pub(in crate::online) async fn a_new_version_adds_measures_and_nothing_else(backend: &Backend) {
    let first = backend.missing_table("spend", OnlineLayout::PerChunk);
    backend.store.ensure(&first).await.unwrap();
    backend.store.ensure(&first).await.unwrap();
    backend.store.write(&file(&first, AT), Fence(1), batch(&first, &users([1]))).await.unwrap();

    let with = |extra: Vec<_>| {
        let columns = first.output.columns().iter().cloned().chain(extra).collect();
        FeatureTable { output: OutputSchema::new(columns), ..first.clone() }
    };
    // Names that SQL or the store itself might claim.
    let sum = Role::Value(Aggregate::Sum);
    let instant = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let second = with(vec![
        column("deleted", DataType::Float64, sum),
        column("order", DataType::Int64, sum),
        column("expires_at", instant, Role::Value(Aggregate::Max)),
    ]);
    backend.store.ensure(&second).await.unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["u2"])),
        Arc::new(StringArray::from(vec!["gh"])),
        Arc::new(Int64Array::from(vec![3])),
        Arc::new(Float64Array::from(vec![0.1])),
        Arc::new(Int64Array::from(vec![None])),
        Arc::new(TimestampMillisecondArray::from(vec![1_533_118_630_123]).with_timezone("UTC")),
    ];
    let rows = RecordBatch::try_new(second.output.arrow(), columns).unwrap();
    backend.store.write(&file(&second, AT), Fence(2), rows.clone()).await.unwrap();
    let found: Vec<RecordBatch> =
        backend.store.read(&Arc::new(second.clone()), "u2", None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found, [rows]);
    let old: Vec<RecordBatch> =
        backend.store.read(&Arc::new(second.clone()), "u1", None).await.unwrap().try_collect().await.unwrap();
    assert!(old[0].column(3).is_null(0) && old[0].column(5).is_null(0));
    assert_eq!(found[0].column(3).as_primitive::<Float64Type>().value(0).to_bits(), 0.1_f64.to_bits());
    assert_eq!(found[0].column(5).as_primitive::<TimestampMillisecondType>().value(0), 1_533_118_630_123);
    // The older one still writes, and what it does not know is null then.
    backend.store.ensure(&first).await.unwrap();
    backend
        .store
        .write(&file(&first, AT), Fence(3), batch(&first, &[(Some("u2".to_owned()), Some("gh".to_owned()), 4)]))
        .await
        .unwrap();
    let found: Vec<RecordBatch> =
        backend.store.read(&Arc::new(second.clone()), "u2", None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found[0].column(2).as_primitive::<Int64Type>().value(0), 4);
    assert!((3..6).all(|column| found[0].column(column).is_null(0)), "{found:?}");

    let other_type = with(vec![column("order", DataType::Float64, sum)]);
    let other_layout = FeatureTable { online: OnlineLayout::Latest, ..first.clone() };
    for wrong in [other_type, other_layout] {
        let error = backend.store.ensure(&wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("new name"), "{error}");
        assert_eq!(backend.store.check(&wrong).await.unwrap_err().to_string(), error.to_string());
    }
    assert!(backend.store.check(&first).await.unwrap());
    // Neither a check nor a read makes anything: no table and no column.
    let third = with(vec![column("later", DataType::Float64, sum)]);
    assert!(backend.store.check(&third).await.unwrap());
    let found: Vec<RecordBatch> =
        backend.store.read(&Arc::new(third.clone()), "u2", None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found[0].schema(), third.output.arrow());
    assert_eq!(found[0].column(2).as_primitive::<Int64Type>().value(0), 4);
    assert!(found[0].column(3).is_null(0), "{found:?}");
    let missing = backend.missing_table("never_made", OnlineLayout::PerChunk);
    assert_eq!(read(backend, &missing, "u1").await, []);
    assert!(!backend.store.check(&missing).await.unwrap());
    for unmade in [third, missing] {
        assert!(backend.store.write(&file(&unmade, AT), Fence(9), every_column_null(&unmade)).await.is_err());
    }
}

/// A row of `u1` that has nothing else.
fn every_column_null(table: &FeatureTable) -> RecordBatch {
    let schema = table.output.arrow();
    let column = |at: usize| -> ArrayRef {
        match at {
            0 => Arc::new(StringArray::from(vec!["u1"])),
            at => datafusion::arrow::array::new_null_array(schema.field(at).data_type(), 1),
        }
    };
    RecordBatch::try_new(Arc::clone(&schema), (0..schema.fields().len()).map(column).collect()).unwrap()
}

pub(in crate::online) async fn a_table_that_is_not_there_has_no_rows_and_truncate_takes_all(backend: &Backend) {
    let table = backend.missing_table("user_num_posts", OnlineLayout::PerChunk);
    assert_eq!(read(backend, &table, "u1").await, []);
    backend.store.ensure(&table).await.unwrap();
    let file = file(&table, AT);
    backend.store.delete(&file, Fence(9), keys(&table, &users([1]))).await.unwrap();
    backend.store.truncate(&table).await.unwrap();
    backend.store.write(&file, Fence(1), batch(&table, &users([1]))).await.unwrap();
    assert_eq!(read(backend, &table, "u1").await, users([1]), "the tombstone went too");
}

pub(in crate::online) async fn many_rows_come_back_in_batches(backend: &Backend) {
    let table = backend.table("user_num_posts", OnlineLayout::PerChunk).await;
    let mut rows: Vec<TestRow> = (0..5_000).map(|n| (Some("u1".to_owned()), Some(format!("c{n}")), n)).collect();
    rows.sort();
    backend.store.write(&file(&table, AT), Fence(1), batch(&table, &rows)).await.unwrap();
    assert_eq!(read(backend, &table, "u1").await, rows);
}

pub(in crate::online) async fn processes_make_a_table_at_once(backend: &Backend) {
    let first = backend.missing_table("made_at_once", OnlineLayout::PerChunk);
    let more = ["b", "c"].map(|name| column(name, DataType::Float64, Role::Value(Aggregate::Sum)));
    let columns = first.output.columns().iter().cloned().chain(more).collect();
    let second = FeatureTable { output: OutputSchema::new(columns), ..first.clone() };
    for table in [&first, &second] {
        futures::future::try_join_all((0..4).map(|_| backend.store.ensure(table))).await.unwrap();
        backend.store.write(&file(&first, AT), Fence(1), batch(&first, &users([1]))).await.unwrap();
        assert_eq!(read(backend, &first, "u1").await, users([1]));
    }
}
