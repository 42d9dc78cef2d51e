//! SQL over a small tree of files, next to the same rows in memory.

mod others;
mod tree;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMillisecondArray};
use datafusion::arrow::compute::{concat_batches, sum};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use neartime_engine::{Aggregate, FeatureTable, OnlineLayout, OutputSchema, Role};
use neartime_model::{ChunkWidth, Classify, ErrorKind, Fence, Partition, PartitionColumn};
use object_store::ObjectStoreExt;

use self::tree::Tree;
use super::Answer;
use crate::testing::{TestRow, batch, column, file, order, stream, table};

fn row(id: &str, country: &str, value: i64) -> TestRow {
    (Some(id.to_owned()), Some(country.to_owned()), value)
}

fn text(answer: &Answer) -> String {
    pretty_format_batches(&answer.batches).unwrap().to_string()
}

fn number(answer: &Answer) -> i64 {
    answer.batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// The table of the seed's query.
fn browse() -> FeatureTable {
    let mut table = table("device_last_browse", OnlineLayout::Latest);
    table.output = OutputSchema::new(vec![
        column("id", DataType::Utf8, Role::Entity),
        column("country", DataType::Utf8, Role::Key),
        column("brand", DataType::Utf8, Role::Key),
        column("last_action_timestamp", DataType::Int64, Role::Value(Aggregate::Max)),
    ]);
    table
}

#[tokio::test]
async fn the_query_of_the_seed_runs_verbatim() {
    let tree = Tree::new();
    let table = browse();
    let content = [
        ("2018-09-19T23:50:00Z", vec![("x1", "cz", "letgo"), ("x2", "cz", "letgo")]),
        ("2018-09-20T00:00:00Z", vec![("a", "cz", "letgo"), ("b", "cz", "letgo"), ("c", "za", "olx")]),
        (
            "2018-09-20T23:50:00Z",
            vec![
                ("a", "cz", "letgo"),
                ("c", "za", "olx"),
                ("d", "cz", "letgo"),
                ("e", "za", "olx"),
                ("f", "ke", "olx"),
            ],
        ),
        ("2018-09-21T00:00:00Z", vec![("y", "ke", "olx")]),
    ];
    for (at, rows) in content {
        let column = |pick: fn(&(&'static str, &'static str, &'static str)) -> &'static str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(pick)))
        };
        let times = Int64Array::from(vec![1_537_401_600; rows.len()]);
        let columns = vec![column(|row| row.0), column(|row| row.1), column(|row| row.2), Arc::new(times) as ArrayRef];
        let batch = RecordBatch::try_new(table.output.arrow(), columns).unwrap();
        let file = file(&table, at);
        tree.store.publish(&file, order(1, 1), Fence(1), stream(&table, vec![Ok(batch)])).await.unwrap();
    }
    let session = tree.session(&[&table]);
    let sql = "select brand, country, count(distinct(id)) cnt from features_store.device_last_browse \
               where year='2018' and month = '09' and day = '20' group by 1,2 order by 3 desc";
    let answer = session.query(sql).await.unwrap();
    let wanted = "\
+-------+---------+-----+
| brand | country | cnt |
+-------+---------+-----+
| letgo | cz      | 3   |
| olx   | za      | 2   |
| olx   | ke      | 1   |
+-------+---------+-----+";
    assert_eq!(text(&answer), wanted);
    assert_eq!(tree.files_read(), 2);
    assert!(answer.scanned_bytes > 0 && answer.elapsed.as_nanos() > 0);
    let again = session.query(&sql.to_uppercase()).await.unwrap();
    assert_eq!(text(&again).to_lowercase(), wanted, "unquoted names fold to lower case");
}

#[tokio::test]
async fn columns_and_types_are_those_of_the_contract() {
    let tree = Tree::new();
    let widths = [("6m", "minute", "36"), ("10m", "ten_mins", "30"), ("1h", "hour", "10"), ("1d", "day", "01")];
    for (width, finest, value) in widths {
        let mut table = table("user_num_posts", OnlineLayout::PerChunk);
        table.name = neartime_model::FeatureName::new(format!("posts_{finest}")).unwrap();
        table.width = width.parse::<ChunkWidth>().unwrap();
        tree.publish(&file(&table, "2018-08-01T10:37:00Z"), 1, &[row("u1", "gh", 1)]).await;
        let answer =
            tree.session(&[&table]).query(&format!("select * from features_store.{}", table.name)).await.unwrap();
        let names: Vec<&str> = answer.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let levels = PartitionColumn::of_width(table.width).iter().map(|column| column.name());
        let wanted: Vec<&str> =
            ["id", "country", "actions_count"].into_iter().chain(levels).chain(["data_chunk"]).collect();
        assert_eq!(names, wanted);
        let chunk = answer.schema.field_with_name("data_chunk").unwrap().data_type().clone();
        assert_eq!(chunk, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
        let found = answer.batches[0].column_by_name(finest).unwrap().as_string_view().value(0).to_owned();
        assert_eq!(found, value);
        let day =
            format!("select date_trunc('day', data_chunk) = timestamp '2018-08-01' from features_store.{}", table.name);
        let answer = tree.session(&[&table]).query(&day).await.unwrap();
        assert!(answer.batches[0].column(0).as_boolean().value(0));
    }
}

/// Publishes two paths of every hour of three days in two months; returns the rows as a table in memory.
async fn three_days(tree: &Tree, table: &FeatureTable) -> RecordBatch {
    let (mut chunks, mut values, mut next) = (Vec::new(), Vec::new(), 0);
    for day in ["2018-08-30", "2018-08-31", "2018-09-01"] {
        for hour in 0..24 {
            let ten_mins = hour % 6 * 10;
            for path in ["olx", "letgo"] {
                let mut file = file(table, &format!("{day}T{hour:02}:{ten_mins:02}:00Z"));
                file.stem = format!("horizontals.{path}");
                tree.publish(&file, 1, &[row("u1", "gh", next)]).await;
                chunks.push(file.chunk);
                values.push(next);
                next += 1;
            }
        }
    }
    let mut fields = vec![Field::new("actions_count", DataType::Int64, true)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(values))];
    for (index, column) in PartitionColumn::of_width(table.width).iter().enumerate() {
        fields.push(Field::new(column.name(), DataType::Utf8, false));
        let text =
            |chunk: &neartime_model::Chunk| Partition::of(*chunk).unwrap().values().nth(index).unwrap().1.to_owned();
        columns.push(Arc::new(StringArray::from_iter_values(chunks.iter().map(text))));
    }
    let starts = TimestampMillisecondArray::from_iter_values(chunks.iter().map(|chunk| chunk.start().as_millis()));
    fields.push(Field::new("data_chunk", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false));
    columns.push(Arc::new(starts.with_timezone("UTC")));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[tokio::test]
async fn filters_on_the_path_prune_and_never_lie() {
    let tree = Tree::new();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let naive = three_days(&tree, &table).await;
    let memory = SessionContext::new();
    let rows = MemTable::try_new(naive.schema(), vec![vec![naive]]).unwrap();
    memory.register_table("naive", Arc::new(rows)).unwrap();
    // The filter, and how many of the 144 files may be opened for it.
    let cases = [
        ("true", 144),
        ("year = '2018' and month = '09'", 48),
        ("month in ('08', '10') and day > '30'", 48),
        ("day between '30' and '31' and hour = '10'", 4),
        ("hour >= '22'", 12),
        ("ten_mins = '50' and day = '01'", 8),
        ("data_chunk = timestamp '2018-08-31 06:00:00'", 2),
        ("data_chunk >= '2018-08-31T12:00:00Z' and data_chunk < timestamp '2018-09-01 01:00:00'", 26),
        ("date_trunc('day', data_chunk) = timestamp '2018-09-01'", 48),
        ("year || month || day = '20180831'", 48),
        ("cast(hour as int) * 2 = 8", 6),
        ("year = 2018 and month = 8 and day = 30", 48),
        ("day = '31' or data_chunk < timestamp '2018-08-30 02:00:00'", 52),
        ("not (month = '08')", 48),
        ("month like '0%' and day not like '3%'", 48),
        ("year = '2019'", 0),
        ("data_chunk is null", 0),
        ("actions_count > 100 and month = '09'", 48),
        ("month = '09' and random() >= 0", 48),
        ("day = (select max(day) from features_store.user_num_posts)", 144),
    ];
    for (filter, files) in cases {
        let session = tree.session(&[&table]);
        let question = |from: &str| format!("select coalesce(sum(actions_count), -1) from {from} where {filter}");
        let answer = session.query(&question("features_store.user_num_posts")).await.unwrap();
        let naive_question = question("naive").replace("features_store.user_num_posts", "naive");
        let naive = memory.sql(&naive_question).await.unwrap().collect().await.unwrap();
        assert_eq!(number(&answer), naive[0].column(0).as_primitive::<Int64Type>().value(0), "{filter}");
        assert!(tree.files_read() <= files, "{filter} opened {} files", tree.files_read());
        assert_eq!(answer.scanned_bytes > 0, files > 0, "{filter}");
    }
    // Folders that cannot hold a wanted chunk are not listed: root, year, month, day and its files.
    tree.session(&[&table])
        .query("select count(*) from features_store.user_num_posts where month = '09'")
        .await
        .unwrap();
    assert_eq!(tree.listings(), 4);
}

#[tokio::test]
async fn random_filters_agree_with_rows_in_memory() {
    let tree = Tree::in_bucket();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let naive = three_days(&tree, &table).await;
    let memory = SessionContext::new();
    let rows = MemTable::try_new(naive.schema(), vec![vec![naive]]).unwrap();
    memory.register_table("naive", Arc::new(rows)).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let mut atom = || {
        let compare = ["=", "<>", "<", "<=", ">", ">="][random.usize(0..6)];
        let (column, value) = match random.u8(0..6) {
            0 => ("year", format!("'{}'", random.u16(2017..2020))),
            1 => ("month", format!("'{:02}'", random.u8(7..11))),
            2 => ("day", format!("'{:02}'", [1, 2, 29, 30, 31][random.usize(0..5)])),
            3 => ("hour", format!("'{:02}'", random.u8(0..24))),
            4 => ("ten_mins", format!("'{:02}'", random.u8(0..6) * 10)),
            _ => (
                "data_chunk",
                format!(
                    "timestamp '2018-08-{:02} {:02}:{:02}:00'",
                    random.u8(29..32),
                    random.u8(0..24),
                    random.u8(0..60)
                ),
            ),
        };
        format!("{column} {compare} {value}")
    };
    for _ in 0..30 {
        let filter = format!("({} or {}) and not ({} and {})", atom(), atom(), atom(), atom());
        let question = |from: &str| format!("select coalesce(sum(actions_count), -1) from {from} where {filter}");
        let answer = tree.session(&[&table]).query(&question("features_store.user_num_posts")).await.unwrap();
        let naive = memory.sql(&question("naive")).await.unwrap().collect().await.unwrap();
        assert_eq!(number(&answer), naive[0].column(0).as_primitive::<Int64Type>().value(0), "{filter}");
    }
}

#[tokio::test]
async fn older_files_lack_measures_and_hidden_files_are_no_data() {
    let tree = Tree::new();
    let old = table("spend", OnlineLayout::PerChunk);
    tree.publish(&file(&old, "2018-08-01T10:40:00Z"), 1, &[row("u1", "gh", 1)]).await;
    let extra = column("clicks", DataType::Float64, Role::Value(Aggregate::Sum));
    let columns = old.output.columns().iter().cloned().chain([extra]).collect();
    let new = FeatureTable { output: OutputSchema::new(columns), ..old.clone() };
    let hidden = tree.path_of(&file(&old, "2018-08-01T10:40:00Z"));
    for name in [".half.parquet", ".horizontals.vanished", "notes.txt"] {
        std::fs::write(hidden.with_file_name(name), b"no parquet").unwrap();
    }
    std::fs::create_dir_all(tree.folder.path().join("spend/year=2018/month=8/day=1/hour=1/ten_mins=0")).unwrap();
    std::fs::copy(&hidden, tree.folder.path().join("spend/year=2018/month=8/day=1/hour=1/ten_mins=0/a.parquet"))
        .unwrap();
    let answer = tree.session(&[&new]).query("select count(*), sum(clicks) from features_store.spend").await.unwrap();
    assert_eq!(number(&answer), 1);
    assert!(answer.batches[0].column(1).is_null(0));
    // The version that no longer has the measure reads the newer files.
    let rows = batch(&old, &[row("u2", "gh", 2)]);
    let clicks: ArrayRef = Arc::new(datafusion::arrow::array::Float64Array::from(vec![0.5]));
    let rows =
        RecordBatch::try_new(new.output.arrow(), rows.columns().iter().cloned().chain([clicks]).collect()).unwrap();
    let later = file(&new, "2018-08-01T10:50:00Z");
    tree.store.publish(&later, order(2, 1), Fence(1), stream(&new, vec![Ok(rows)])).await.unwrap();
    let answer = tree.session(&[&old]).query("select sum(actions_count) from features_store.spend").await.unwrap();
    assert_eq!(number(&answer), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_mixes_two_versions_of_a_file() {
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let file = file(&table, "2018-08-01T10:40:00Z");
    // Longer than what is fetched with the footer, so that it takes several reads.
    let of = |generation: i64| -> Vec<TestRow> {
        let mut random = fastrand::Rng::with_seed(3);
        let mut rows: Vec<TestRow> =
            (0..40_000).map(|_| row(&format!("{:032x}", random.u128(..)), "gh", generation)).collect();
        rows.sort();
        rows
    };
    for tree in [Tree::new(), Tree::in_bucket()] {
        tree.publish(&file, 2, &of(2)).await;
        let second = tree.bytes_of(&file).await;
        tree.store.objects().delete(&tree.location_of(&file)).await.unwrap();
        tree.publish(&file, 1, &of(1)).await;

        let session = tree.session(&[&table]);
        tree.replace_on_first_read(&file, second.clone());
        let sql = "select min(a.actions_count), max(b.actions_count), count(*) from features_store.user_num_posts a \
                   join features_store.user_num_posts b on a.id = b.id";
        let answer = session.query(sql).await.unwrap();
        let cell = |index: usize| answer.batches[0].column(index).as_primitive::<Int64Type>().value(0);
        assert_eq!((cell(0), cell(1), cell(2)), (2, 2, 40_000));

        // Nor one that begins to wait on disk before the file is replaced.
        tree.store.objects().delete(&tree.location_of(&file)).await.unwrap();
        tree.publish(&file, 1, &of(1)).await;
        let session = tree.session(&[&table]);
        tree.replace_on_first_read(&file, second);
        let sql = "select actions_count from features_store.user_num_posts";
        let answer = session.query_holding(sql, None, 0).await.unwrap();
        let sums = answer.batches.map(|batch| sum(batch.unwrap().column(0).as_primitive::<Int64Type>()).unwrap());
        assert_eq!(sums.sum::<i64>(), 80_000);
    }
}

#[tokio::test]
async fn large_answers_wait_on_disk_and_are_the_same() {
    let tree = Tree::new();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    for minute in ["10", "20", "30"] {
        tree.publish(&file(&table, &format!("2018-08-01T10:{minute}:00Z")), 1, &crate::testing::users(0..9_000)).await;
    }
    let session = tree.session(&[&table]);
    let sql = "select * from features_store.user_num_posts order by id, data_chunk";
    let whole = session.query(sql).await.unwrap();
    let concat = |batches: &[RecordBatch]| concat_batches(&whole.schema, batches).unwrap();
    let expected = concat(&whole.batches);
    assert_eq!(expected.num_rows(), 27_000);
    for (most, on_disk) in [(0, true), (300_000, true), (usize::MAX, false)] {
        let answer = session.query_holding(sql, None, most).await.unwrap();
        let path = answer.batches.file();
        assert_eq!(path.is_some(), on_disk, "{most}");
        assert_eq!(concat(&answer.batches.collect::<Result<Vec<_>, _>>().unwrap()), expected, "{most}");
        assert!(path.is_none_or(|path| !path.exists()), "the file goes with the answer");
        let few = session.query_holding(sql, Some(10), most).await.unwrap();
        assert_eq!(concat(&few.batches.collect::<Result<Vec<_>, _>>().unwrap()), expected.slice(0, 10));
    }
    for (sql, rows) in [("explain select 1", 2), ("select count(*) from features_store.user_num_posts", 1)] {
        let answer = session.query_holding(sql, Some(5), 0).await.unwrap();
        assert_eq!(answer.batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), rows, "{sql}");
    }
}

#[tokio::test]
async fn wrong_sql_is_refused_with_what_there_is() {
    let tree = Tree::new();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    tree.publish(&file(&table, "2018-08-01T10:40:00Z"), 1, &[row("u1", "gh", 1)]).await;
    let empty = MemTable::try_new(Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])), vec![vec![]]);
    let quarantine = Arc::new(empty.unwrap());
    let session = tree
        .session(&[&table])
        .with_table("raw", "horizontals", Arc::clone(&quarantine) as _)
        .with_plain_table("quarantine", quarantine);
    for sql in [
        "select",
        "select nothing from features_store.user_num_posts",
        "select 1/0 from features_store.user_num_posts",
        "select cast(country as int) from features_store.user_num_posts",
        "drop table features_store.user_num_posts",
        "create table t as select 1",
        "create external table t stored as parquet location '/tmp'",
        "insert into features_store.user_num_posts select * from features_store.user_num_posts",
        "copy features_store.user_num_posts to 'out.parquet'",
        "set datafusion.execution.batch_size = 1",
        "select 1; select 2",
        "",
    ] {
        let error = session.query(sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}: {error} {:?}", std::error::Error::source(&error));
    }
    for unknown in ["features_store.posts", "posts", "raw.posts", "other.features_store.posts"] {
        let error = session.query(&format!("select * from {unknown}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(
            text.contains(&format!("`{unknown}`"))
                && text.contains("features_store.user_num_posts, quarantine, raw.horizontals"),
            "{text}"
        );
    }
    for fine in [
        "with posts as (select * from features_store.user_num_posts) select count(*) from posts",
        "select count(*) from quarantine, raw.horizontals",
        "show tables",
        "describe features_store.user_num_posts",
        "explain select * from features_store.user_num_posts",
        "select ratio(actions_count, 0) from features_store.user_num_posts",
    ] {
        session.query(fine).await.unwrap();
    }
}

#[tokio::test]
async fn statistics_leave_out_row_groups_and_pages() {
    let tree = Tree::new();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let users: Vec<TestRow> = (0..200_000).map(|n| row(&format!("u{n:08}"), "gh", n)).collect();
    tree.publish(&file(&table, "2018-08-01T10:40:00Z"), 1, &users).await;
    let scanned = async |filter: &str| {
        let sql = format!("select count(distinct id), sum(actions_count) from features_store.user_num_posts {filter}");
        let answer = tree.session(&[&table]).query(&sql).await.unwrap();
        (number(&answer), answer.scanned_bytes)
    };
    let (all, bytes) = scanned("").await;
    assert_eq!(all, 200_000);
    for (filter, rows) in [("where id = 'u00150000'", 1), ("where actions_count < 100", 100), ("where id = 'x'", 0)] {
        let (found, fewer) = scanned(filter).await;
        assert_eq!(found, rows, "{filter}");
        assert!(fewer * 3 < bytes, "{filter} scanned {fewer} of {bytes} bytes");
    }
}

#[tokio::test]
async fn a_corrupt_file_is_an_error() {
    let tree = Tree::new();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let file = file(&table, "2018-08-01T10:40:00Z");
    tree.publish(&file, 1, &crate::testing::users(0..3_000)).await;
    let path = tree.path_of(&file);
    let good = std::fs::read(&path).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..60 {
        let mut bad = good.clone();
        let at = random.usize(0..bad.len() - 20);
        random.fill(&mut bad[at..at + 20]);
        std::fs::write(&path, bad).unwrap();
        // A flipped bit of a value is not seen, and an answer then; all else is an error that names a cause.
        let sql = "select count(distinct id), sum(actions_count) from features_store.user_num_posts";
        if let Err(error) = tree.session(&[&table]).query(sql).await {
            assert_ne!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        }
    }
    std::fs::write(&path, b"").unwrap();
    let error = tree.session(&[&table]).query("select * from features_store.user_num_posts").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error:?}");
    let text = neartime_model::chain(&error);
    assert!(text.contains(path.strip_prefix("/").unwrap().to_str().unwrap()) && text.contains("backfill"), "{text}");
}

#[tokio::test]
async fn a_table_without_files_is_empty() {
    let tree = Tree::new();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let answer = tree.session(&[&table]).query("select count(*) from features_store.user_num_posts").await.unwrap();
    assert_eq!(number(&answer), 0);
}
