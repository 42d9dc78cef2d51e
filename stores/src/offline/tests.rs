//! The features store against its promises: bytes, order, atomic replacement, nothing left behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, AsArray, StringViewArray, TimestampMillisecondArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use futures::TryStreamExt;
use neartime_engine::{Aggregate, OnlineLayout, OutputSchema, Role};
use neartime_model::{Classify, ErrorKind, Fence};
use object_store::local::LocalFileSystem;
use parquet::basic::{Compression, ConvertedType, Encoding, Type};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::offline::DirectoryPublisher;
use crate::testing::{TestRow, batch, column, file, order, rows, rows_of, stream, table, users};
use crate::{FeaturesStore, PartitionFile, Published, StoreError};

const AT: &str = "2018-08-01T10:40:00Z";

async fn publish(
    store: &FeaturesStore,
    file: &PartitionFile,
    version: u32,
    generation: i64,
    of: &[TestRow],
) -> Published {
    store.publish(file, order(version, generation), Fence(1), rows(&file.table, of, 100)).await.unwrap()
}

async fn read(store: &FeaturesStore, file: &PartitionFile) -> Vec<TestRow> {
    let published = store.open(file).await.unwrap().expect("a readable file");
    let batches: Vec<_> = published.rows(&file.table.output.arrow()).unwrap().try_collect().await.unwrap();
    rows_of(&batches)
}

fn path_of(root: &Path, file: &PartitionFile) -> PathBuf {
    root.join(file.key().unwrap().as_ref())
}

/// All names below `root` that a reader or a later publish would stumble over.
fn leftovers(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(leftovers(&entry.path()));
        } else if entry.file_name().to_str().unwrap().ends_with(".tmp") {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
async fn the_path_is_the_one_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let mut file = file(&table("user_num_posts", OnlineLayout::PerChunk), "2018-08-01T10:44:00Z");
    file.stem = "horizontals.a%2Eb".to_owned();
    publish(&store, &file, 1, 1, &users([1])).await;
    let path = "user_num_posts/year=2018/month=08/day=01/hour=10/ten_mins=40/horizontals.a%2Eb.parquet";
    assert!(folder.path().join(path).is_file());
    let listed: Vec<PartitionFile> = store.files(&file.table).unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1, "the lock file beside it is hidden");
    assert_eq!((listed[0].chunk, listed[0].stem.as_str()), (file.chunk, "horizontals.a%2Eb"));
    assert_eq!(read(&store, &listed[0]).await, users([1]));
}

#[tokio::test]
async fn bytes_do_not_depend_on_batches() {
    let all: Vec<TestRow> = users(0..150_000);
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let mut contents = Vec::new();
    for cut in [1_000_000, 8_192, 1_237, 77] {
        let folder = tempfile::tempdir().unwrap();
        let store = FeaturesStore::directory(folder.path()).unwrap();
        let file = file(&table, AT);
        store.publish(&file, order(1, 1), Fence(1), rows(&table, &all, cut)).await.unwrap();
        contents.push(std::fs::read(path_of(folder.path(), &file)).unwrap());
    }
    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]));

    let file = SerializedFileReader::new(bytes::Bytes::from(contents.remove(0))).unwrap();
    let entries = file.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let entry = |key: &str| entries.iter().find(|entry| entry.key == key).unwrap().value.clone().unwrap();
    assert_eq!(entry("neartime.version"), "1");
    assert_eq!(entry("neartime.data_chunk"), AT);
    assert_eq!(entry("neartime.row_key"), "id,country");
    assert_eq!(entry("neartime.file_path"), "in/horizontals/olx/android/");
    assert!(!entries.iter().any(|entry| entry.key == "ARROW:schema"));
    assert_eq!(file.metadata().file_metadata().num_rows(), 150_000);
    assert!(file.metadata().row_groups().iter().all(|group| group.num_rows() <= 65_536));
}

#[tokio::test]
async fn entities_have_a_dictionary_only_where_they_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let countries = |user: i64| (0..3).map(move |n| (Some(format!("u{user:03}")), Some(format!("c{n}")), n));
    let repeated: Vec<TestRow> = (0..200).flat_map(countries).collect();
    for (name, rows, has_dictionary) in [("each_once", users(0..200), false), ("thrice", repeated, true)] {
        let file = file(&table(name, OnlineLayout::PerChunk), AT);
        publish(&store, &file, 1, 1, &rows).await;
        assert_eq!(read(&store, &file).await, rows);
        let file = SerializedFileReader::new(std::fs::File::open(path_of(folder.path(), &file)).unwrap()).unwrap();
        let group = file.metadata().row_group(0);
        assert_eq!(group.column(0).dictionary_page_offset().is_some(), has_dictionary, "{name}");
        assert!(group.column(1).dictionary_page_offset().is_some(), "{name}");
    }
}

/// The file of a membership feature that has one time.
fn memberships(name: &str) -> PartitionFile {
    let mut table = table(name, OnlineLayout::PerChunk);
    let instant = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    table.output = OutputSchema::new(vec![
        column("id", DataType::Utf8, Role::Entity),
        column("item", DataType::Utf8, Role::Item),
        column("min_ts", instant, Role::Value(Aggregate::Min)),
    ]);
    file(&table, AT)
}

#[tokio::test]
async fn times_are_told_from_those_before_unless_they_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for (name, unit_ms, has_dictionary) in [("in_ms", 1, false), ("in_seconds", 1000, true)] {
        let file = memberships(name);
        let times: Vec<i64> =
            (0..20_000).map(|_| 1_533_118_200_000 + random.i64(0..600_000) / unit_ms * unit_ms).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(StringViewArray::from_iter_values((0..times.len()).map(|user| format!("u{user:05}"))))),
            ("item", Arc::new(StringViewArray::from(vec!["101"; times.len()]))),
            ("min_ts", Arc::new(TimestampMillisecondArray::from(times.clone()).with_timezone("UTC"))),
        ];
        let computed = stream(&file.table, vec![Ok(RecordBatch::try_from_iter(columns).unwrap())]);
        store.publish(&file, order(1, 1), Fence(1), computed).await.unwrap();
        let published = store.open(&file).await.unwrap().expect("a readable file");
        let found: Vec<_> = published.rows(&file.table.output.arrow()).unwrap().try_collect().await.unwrap();
        let found = found.iter().flat_map(|batch| batch.column(2).as_primitive::<TimestampMillisecondType>().values());
        assert!(found.eq(&times), "{name}");
        let footer = SerializedFileReader::new(std::fs::File::open(path_of(folder.path(), &file)).unwrap()).unwrap();
        let column = footer.metadata().row_group(0).column(2);
        assert_eq!(column.dictionary_page_offset().is_some(), has_dictionary, "{name}");
        assert_eq!(column.encodings().any(|found| found == Encoding::DELTA_BINARY_PACKED), !has_dictionary, "{name}");
    }
}

#[tokio::test]
async fn columns_are_plain_int64_zstd_and_utc() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let file = memberships("user_segments");
    let table = &file.table;
    // Engines may compute with other encodings of the same values.
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("min_ts", Arc::new(TimestampMillisecondArray::from(vec![1_533_118_630_123]).with_timezone("+00:00"))),
        ("id", Arc::new(StringViewArray::from(vec!["u1"]))),
        ("item", Arc::new(StringViewArray::from(vec!["101"]))),
    ];
    let computed = stream(table, vec![Ok(RecordBatch::try_from_iter(columns).unwrap())]);
    store.publish(&file, order(1, 1), Fence(1), computed).await.unwrap();
    let file = SerializedFileReader::new(std::fs::File::open(path_of(folder.path(), &file)).unwrap()).unwrap();
    let columns = file.metadata().row_group(0).columns();
    let types: Vec<_> = columns
        .iter()
        .map(|column| (column.column_path().string(), column.column_type(), column.column_descr().converted_type()))
        .collect();
    let wanted = [
        ("id".to_owned(), Type::BYTE_ARRAY, ConvertedType::UTF8),
        ("item".to_owned(), Type::BYTE_ARRAY, ConvertedType::UTF8),
        ("min_ts".to_owned(), Type::INT64, ConvertedType::TIMESTAMP_MILLIS),
    ];
    assert_eq!(types, wanted);
    assert!(columns.iter().all(|column| matches!(column.compression(), Compression::ZSTD(_))));
}

#[tokio::test]
async fn a_lower_order_never_replaces_a_higher() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 1, 5, &users([1, 2])).await;
    for (version, generation) in [(1, 4), (1, 1)] {
        let outcome = publish(&store, &file, version, generation, &users([3])).await;
        assert_eq!(outcome, Published::Superseded { found: order(1, 5) });
    }
    assert_eq!(read(&store, &file).await, users([1, 2]));
    // Equal and higher ones do; the version counts before the generation.
    for (version, generation, user) in [(1, 5, 6), (1, 6, 7), (2, 1, 8)] {
        let outcome = publish(&store, &file, version, generation, &users([user])).await;
        assert!(matches!(outcome, Published::Written { rows: 1, .. }), "{outcome:?}");
        assert_eq!(read(&store, &file).await, users([user]));
    }
    assert_eq!(publish(&store, &file, 1, 99, &users([1])).await, Published::Superseded { found: order(2, 1) });
}

#[tokio::test]
async fn no_rows_still_replace() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 1, 1, &users([1, 2])).await;
    let outcome = publish(&store, &file, 1, 2, &[]).await;
    assert!(matches!(outcome, Published::Written { rows: 0, .. }));
    assert_eq!(read(&store, &file).await, users([]));
}

#[tokio::test]
async fn rows_that_break_off_publish_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 1, 1, &users([1])).await;
    let broken =
        vec![Ok(batch(&file.table, &users([2]))), Err(DataFusionError::Execution("the feature failed".to_owned()))];
    let error = store.publish(&file, order(1, 2), Fence(1), stream(&file.table, broken)).await.unwrap_err();
    assert!(matches!(error, StoreError::Rows(_)), "{error:?}");
    assert_eq!(read(&store, &file).await, users([1]));
    assert_eq!(leftovers(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn unsorted_and_repeated_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    let row = |id: &str| (Some(id.to_owned()), None, 1);
    for bad in [vec![row("b"), row("a")], vec![row("a"), row("a")], vec![row("a"), (None, None, 1)]] {
        for cut in [1, 10] {
            let error = store.publish(&file, order(1, 1), Fence(1), rows(&file.table, &bad, cut)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
        }
    }
    assert!(store.open(&file).await.unwrap().is_none());
}

#[tokio::test]
async fn corrupt_parquet_in_place_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 1, 9, &users(0..5_000)).await;
    let path = path_of(folder.path(), &file);
    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[100..good.len() - 2_000].fill(0xA5);
    // Of the footer's bytes each may be wrong; none may panic or block the file for ever.
    let mut broken = vec![Vec::new(), b"PAR1".to_vec(), good[..good.len() / 2].to_vec(), flipped];
    for at in (good.len() - 400..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        broken.push(bytes);
    }
    for bytes in broken {
        std::fs::write(&path, bytes).unwrap();
        // What is opened may be an error, never nothing.
        assert!(!matches!(store.open(&file).await, Ok(None)));
        let outcome = store.publish(&file, order(1, 9), Fence(1), rows(&file.table, &users([1]), 10)).await.unwrap();
        // A footer that is still readable may have another order in it by chance.
        if matches!(outcome, Published::Written { .. }) {
            assert_eq!(read(&store, &file).await, users([1]));
        }
    }
}

#[tokio::test]
async fn what_a_dead_process_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 1, 1, &users([1])).await;
    let beside = path_of(folder.path(), &file).with_file_name(".999999-0.tmp");
    std::fs::write(&beside, b"half a file").unwrap();
    let held = path_of(folder.path(), &file).with_file_name(".999998-0.tmp");
    let holder = std::fs::File::create(&held).unwrap();
    holder.lock().unwrap();
    assert_eq!(store.sweep().await.unwrap(), 1, "the other one's writer is alive");
    assert!(!beside.exists() && held.exists());
    drop(holder);
    publish(&store, &file, 1, 2, &users([1])).await;
    assert_eq!(leftovers(folder.path()), Vec::<PathBuf>::new(), "a publish sweeps its own folder");
}

#[tokio::test]
async fn a_lock_that_a_stopped_process_holds_costs_no_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let root = object_store::path::Path::from_absolute_path(folder.path()).unwrap();
    let publisher = DirectoryPublisher::new(folder.path().to_owned(), Duration::from_millis(50));
    let store = FeaturesStore::new(Arc::new(LocalFileSystem::new()), root, Arc::new(publisher));
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 1, 1, &users([1])).await;
    let holder = std::fs::File::open(path_of(folder.path(), &file).with_file_name(".lock")).unwrap();
    holder.lock().unwrap();
    let outcome = store.publish(&file, order(1, 2), Fence(2), rows(&file.table, &users([2]), 10)).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(read(&store, &file).await, users([1]));
    drop(holder);
    publish(&store, &file, 1, 2, &users([2])).await;
    assert_eq!(read(&store, &file).await, users([2]));
}

#[tokio::test]
async fn a_place_that_is_away_costs_no_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = FeaturesStore::directory(&root).unwrap();
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    std::fs::write(&root, b"a file where the folder should be").unwrap();
    let publish_once = || store.publish(&file, order(1, 1), Fence(1), rows(&file.table, &users([1]), 10));
    assert_eq!(publish_once().await.unwrap_err().kind(), ErrorKind::Unavailable);
    std::fs::remove_file(&root).unwrap();
    publish_once().await.unwrap();
    assert_eq!(read(&store, &file).await, users([1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_readers_see_whole_files_and_the_highest_order_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeaturesStore::directory(folder.path()).unwrap();
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 1, 0, &users(0..1_000)).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, file, done) = (store.clone(), file.clone(), Arc::clone(&done));
        async move {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                let published = store.open(&file).await.unwrap().expect("never absent");
                let generation = published.footer().unwrap().order.generation.0;
                let batches = published.rows(&file.table.output.arrow()).unwrap().try_collect::<Vec<_>>().await;
                // Replaced while it was read is an error; a mixture would be an answer.
                let Ok(batches) = batches else { continue };
                assert_eq!(rows_of(&batches), users(generation..generation + 1_000));
                reads += 1;
            }
            reads
        }
    });
    let writers = (0..4).map(|writer| {
        let (store, file) = (store.clone(), file.clone());
        tokio::spawn(async move {
            for generation in (writer..60).step_by(4) {
                let mine = users(generation..generation + 1_000);
                store.publish(&file, order(1, generation), Fence(1), rows(&file.table, &mine, 300)).await.unwrap();
            }
        })
    });
    futures::future::join_all(writers.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    done.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0);
    assert_eq!(store.open(&file).await.unwrap().unwrap().footer().unwrap().order, order(1, 59));
    assert_eq!(read(&store, &file).await, users(59..1_059));
}
