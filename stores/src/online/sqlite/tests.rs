//! The SQLite tables against a naive map in which the highest timestamp wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMillisecondType};
use datafusion::arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use neartime_engine::{Aggregate, FeatureTable, OnlineLayout, OutputSchema, Role};
use neartime_model::{Classify, ErrorKind, Fence, FilePath, Instant, ManualClock, Span};

use super::SqliteOnlineStore;
use crate::testing::{TestRow, batch, column, file, rows_of, table, users};
use crate::{OnlineStore, PartitionFile};

const AT: &str = "2018-08-01T10:40:00Z";

/// Entity, chunk, path and country; fence, and value or tombstone.
type Naive = BTreeMap<(String, usize, usize, Option<String>), (i64, Option<i64>)>;

struct Opened {
    store: SqliteOnlineStore,
    clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
}

async fn open() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(AT.parse().unwrap()));
    let store = SqliteOnlineStore::open(&folder.path().join("online.db"), clock.clone()).await.unwrap();
    Opened { store, clock, folder }
}

async fn read(store: &dyn OnlineStore, table: &FeatureTable, entity: &str) -> Vec<TestRow> {
    read_between(store, table, entity, None).await
}

async fn read_between(
    store: &dyn OnlineStore,
    table: &FeatureTable,
    entity: &str,
    chunks: Option<std::ops::Range<Instant>>,
) -> Vec<TestRow> {
    let rows = store.read(&Arc::new(table.clone()), entity, chunks).await.unwrap();
    let mut found = rows_of(&rows.try_collect::<Vec<_>>().await.unwrap());
    found.sort();
    found
}

fn keys(table: &FeatureTable, rows: &[TestRow]) -> RecordBatch {
    batch(table, rows).project(&[0, 1]).unwrap()
}

#[tokio::test]
async fn per_chunk_rows_are_last_writer_wins() {
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let opened = open().await;
        let table = table("user_num_posts", OnlineLayout::PerChunk);
        opened.store.ensure(&table).await.unwrap();
        let mut naive: Naive = BTreeMap::new();
        for _ in 0..40 {
            let (chunk, path, fence) = (random.usize(0..2), random.usize(0..2), random.i64(0..12));
            let mut file = file(&table, ["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z"][chunk]);
            file.file_path = FilePath::new(["in/a/", "in/b/"][path]);
            let deleting = random.u8(0..3) == 0;
            let mut rows: BTreeMap<(Option<String>, Option<String>), i64> = BTreeMap::new();
            for _ in 0..random.usize(1..6) {
                let country = [None, Some("gh".to_owned()), Some("za".to_owned())][random.usize(0..3)].clone();
                rows.insert((Some(format!("u{}", random.u8(0..3))), country), random.i64(0..1_000));
            }
            let rows: Vec<TestRow> = rows.into_iter().map(|((id, country), value)| (id, country, value)).collect();
            if deleting {
                opened.store.delete(&file, Fence(fence), keys(&table, &rows)).await.unwrap();
            } else {
                opened.store.write(&file, Fence(fence), batch(&table, &rows)).await.unwrap();
            }
            for (id, country, value) in rows {
                let cell = naive.entry((id.unwrap(), chunk, path, country)).or_insert((i64::MIN, None));
                if fence >= cell.0 {
                    *cell = (fence, (!deleting).then_some(value));
                }
            }
        }
        for user in 0..3 {
            let entity = format!("u{user}");
            let mut wanted: Vec<TestRow> = naive
                .iter()
                .filter(|((id, ..), _)| *id == entity)
                .filter_map(|((id, .., country), (_, value))| Some((Some(id.clone()), country.clone(), (*value)?)))
                .collect();
            wanted.sort();
            assert_eq!(read(&opened.store, &table, &entity).await, wanted, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn the_latest_row_is_the_one_of_the_latest_event() {
    let opened = open().await;
    let table = table("user_last_login", OnlineLayout::Latest);
    opened.store.ensure(&table).await.unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut naive: BTreeMap<String, i64> = BTreeMap::new();
    for fence in 0..200 {
        let (user, seconds) = (format!("u{}", random.u8(0..5)), random.i64(1_533_000_000..1_533_200_000));
        let file = file(&table, AT);
        // The fence must not matter: it falls while the events go on.
        let row = (Some(user.clone()), None, seconds);
        opened.store.write(&file, Fence(200 - fence), batch(&table, &[row])).await.unwrap();
        let latest = naive.entry(user).or_insert(seconds);
        *latest = seconds.max(*latest);
    }
    for (user, seconds) in naive {
        assert_eq!(read(&opened.store, &table, &user).await, [(Some(user), None, seconds)]);
    }
    let window = Some(AT.parse().unwrap()..AT.parse().unwrap());
    let refused = opened.store.read(&Arc::new(table.clone()), "u1", window).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(opened.store.delete(&file(&table, AT), Fence(1), keys(&table, &users([1]))).await.is_err());
}

#[tokio::test]
async fn rows_without_an_entity_are_not_written() {
    let opened = open().await;
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    opened.store.ensure(&table).await.unwrap();
    let rows = [(None, Some("gh".to_owned()), 5), (Some("u1".to_owned()), None, 1)];
    opened.store.write(&file(&table, AT), Fence(1), batch(&table, &rows)).await.unwrap();
    opened.store.delete(&file(&table, AT), Fence(2), keys(&table, &rows[..1])).await.unwrap();
    assert_eq!(read(&opened.store, &table, "").await, []);
    assert_eq!(read(&opened.store, &table, "u1").await, [(Some("u1".to_owned()), None, 1)]);
}

#[tokio::test]
async fn windows_are_half_open_by_chunk() {
    let opened = open().await;
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    opened.store.ensure(&table).await.unwrap();
    for (at, value) in [("2018-08-01T10:30:00Z", 1), ("2018-08-01T10:40:00Z", 2), ("2018-08-01T10:50:00Z", 4)] {
        let rows = batch(&table, &[(Some("u1".to_owned()), None, value)]);
        opened.store.write(&file(&table, at), Fence(1), rows).await.unwrap();
    }
    let cases = [
        ("2018-08-01T10:30:00Z", "2018-08-01T10:50:00Z", 3),
        ("2018-08-01T10:30:00.000001Z", "2018-08-01T10:50:00.000001Z", 6),
        ("2018-08-01T10:40:00Z", "2018-08-01T10:40:00Z", 0),
    ];
    for (from, to, sum) in cases {
        let window = from.parse().unwrap()..to.parse().unwrap();
        let found = read_between(&opened.store, &table, "u1", Some(window)).await;
        assert_eq!(found.iter().map(|row| row.2).sum::<i64>(), sum, "[{from}, {to})");
    }
}

#[tokio::test]
async fn retention_counts_from_the_end_of_the_chunk() {
    for layout in [OnlineLayout::PerChunk, OnlineLayout::Latest] {
        let opened = open().await;
        let table = FeatureTable { retention: Some(Span::from_days(1)), ..table("kept_a_day", layout) };
        opened.store.ensure(&table).await.unwrap();
        let file = file(&table, AT);
        let end = file.chunk.end();
        let write = || opened.store.write(&file, Fence(1), batch(&table, &users([1])));
        write().await.unwrap();
        opened.clock.set(end + Span::from_days(1) - Span::from_secs(1));
        assert_eq!(read(&opened.store, &table, "u1").await.len(), 1);
        opened.clock.set(end + Span::from_days(1));
        assert_eq!(read(&opened.store, &table, "u1").await, []);
        // A replay does not extend it, and the hourly purge takes the row away.
        write().await.unwrap();
        assert_eq!(read(&opened.store, &table, "u1").await, []);
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM kept_a_day").fetch_one(&opened.store.readers).await.unwrap();
        assert_eq!(left, 0);
    }
}

#[tokio::test]
async fn a_new_version_adds_measures_and_nothing_else() {
    let opened = open().await;
    let first = table("spend", OnlineLayout::PerChunk);
    opened.store.ensure(&first).await.unwrap();
    opened.store.ensure(&first).await.unwrap();
    opened.store.write(&file(&first, AT), Fence(1), batch(&first, &users([1]))).await.unwrap();

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
    opened.store.ensure(&second).await.unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["u2"])),
        Arc::new(StringArray::from(vec!["gh"])),
        Arc::new(Int64Array::from(vec![3])),
        Arc::new(Float64Array::from(vec![0.1])),
        Arc::new(Int64Array::from(vec![None])),
        Arc::new(TimestampMillisecondArray::from(vec![1_533_118_630_123]).with_timezone("UTC")),
    ];
    let rows = RecordBatch::try_new(second.output.arrow(), columns).unwrap();
    opened.store.write(&file(&second, AT), Fence(2), rows.clone()).await.unwrap();
    let found: Vec<RecordBatch> =
        opened.store.read(&Arc::new(second.clone()), "u2", None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found, [rows]);
    let old: Vec<RecordBatch> =
        opened.store.read(&Arc::new(second.clone()), "u1", None).await.unwrap().try_collect().await.unwrap();
    assert!(old[0].column(3).is_null(0) && old[0].column(5).is_null(0));
    assert_eq!(found[0].column(3).as_primitive::<Float64Type>().value(0).to_bits(), 0.1_f64.to_bits());
    assert_eq!(found[0].column(5).as_primitive::<TimestampMillisecondType>().value(0), 1_533_118_630_123);
    // The older one still writes: the measures that it does not know stay null.
    opened.store.ensure(&first).await.unwrap();

    let other_type = with(vec![column("order", DataType::Float64, sum)]);
    let other_layout = FeatureTable { online: OnlineLayout::Latest, ..first.clone() };
    for wrong in [other_type, other_layout] {
        let error = opened.store.ensure(&wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("new name"), "{error}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_has_no_rows_and_truncate_takes_all() {
    let opened = open().await;
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    assert_eq!(read(&opened.store, &table, "u1").await, []);
    opened.store.ensure(&table).await.unwrap();
    let file = file(&table, AT);
    opened.store.delete(&file, Fence(9), keys(&table, &users([1]))).await.unwrap();
    opened.store.truncate(&table).await.unwrap();
    opened.store.write(&file, Fence(1), batch(&table, &users([1]))).await.unwrap();
    assert_eq!(read(&opened.store, &table, "u1").await, users([1]), "the tombstone went too");
}

#[tokio::test]
async fn many_rows_come_back_in_batches() {
    let opened = open().await;
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    opened.store.ensure(&table).await.unwrap();
    let mut rows: Vec<TestRow> = (0..5_000).map(|n| (Some("u1".to_owned()), Some(format!("c{n}")), n)).collect();
    rows.sort();
    opened.store.write(&file(&table, AT), Fence(1), batch(&table, &rows)).await.unwrap();
    assert_eq!(read(&opened.store, &table, "u1").await, rows);
}

#[tokio::test]
async fn two_processes_share_one_file() {
    let first = open().await;
    let path = first.folder.path().join("online.db");
    let second = SqliteOnlineStore::open(&path, first.clock.clone()).await.unwrap();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let both: [&SqliteOnlineStore; 2] = [&first.store, &second];
    futures::future::try_join_all(both.map(|store| store.ensure(&table))).await.unwrap();
    let files: Vec<PartitionFile> = (0..20)
        .map(|path| {
            let mut file = file(&table, AT);
            file.file_path = FilePath::new(format!("in/{path}/"));
            file
        })
        .collect();
    let writes =
        files.iter().enumerate().map(|(n, file)| both[n % 2].write(file, Fence(1), batch(&table, &users([1]))));
    futures::future::try_join_all(writes).await.unwrap();
    assert_eq!(read(&second, &table, "u1").await.len(), 20);
}

#[tokio::test]
async fn a_folder_that_is_missing_is_a_store_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Instant::EPOCH));
    let error = SqliteOnlineStore::open(&folder.path().join("missing/online.db"), clock).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
