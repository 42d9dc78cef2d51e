//! SQL over raw lines: pruning by chunk, and the rules for lines.

use std::cmp::Ordering;

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionContext, col, lit};
use neartime_model::Instant;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::source::{Column, ColumnKind, Format, SourceSpec};
use crate::{Layout, testing};

async fn context(files: &[(&str, &str)], change: impl FnOnce(&mut SourceSpec)) -> (SessionContext, Arc<Source>) {
    let store = Arc::new(InMemory::new());
    let location = testing::memory(Arc::clone(&store));
    for (key, text) in files {
        let path = location.object_path(&FileKey::new(*key));
        store.put_opts(&path, text.as_bytes().to_vec().into(), Default::default()).await.unwrap();
    }
    let layout = Layout::parse("{brand}/%Y/%m/%d/%H%M-{host}").unwrap();
    let columns = vec![Column::new("user", ColumnKind::String), Column::new("n", ColumnKind::Int)];
    let mut spec = SourceSpec::new("edits".parse().unwrap(), location, layout, Format::Json, columns);
    change(&mut spec);
    let source = Arc::new(Source::new(spec).unwrap());
    let raw = Arc::new(MemorySchemaProvider::new());
    raw.register_table("edits".to_owned(), Arc::new(RawTable::new(Arc::clone(&source)))).unwrap();
    let context = SessionContext::new();
    context.catalog("datafusion").unwrap().register_schema("raw", raw).unwrap();
    (context, source)
}

const FILES: &[(&str, &str)] = &[
    ("olx/2018/08/01/1042-a", "{\"user\":\"u1\",\"n\":1}\nbad\n{\"user\":\"u2\",\"n\":\"2\"}\n"),
    ("olx/2018/08/01/1049-b", "{\"user\":\"u1\",\"n\":3}"),
    ("letgo/2018/08/01/1050-a", "{\"user\":\"u1\",\"n\":4}"),
    ("olx/2018/08/02/0000-a", "{\"user\":\"u3\",\"n\":5}"),
    ("olx/2018/08/02/0000-broken", "\u{1f}"),
];

async fn answer(context: &SessionContext, sql: &str) -> Vec<String> {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(",");
    table.lines().filter(|line| !line.starts_with('+')).skip(1).map(cells).collect()
}

#[tokio::test]
async fn lines_are_rows_with_captures_and_the_chunk() {
    let (context, _) = context(FILES, |_| {}).await;
    let sql = "select \"user\", n, brand, host, data_chunk from raw.edits order by n";
    let expected = [
        "u1,1,olx,a,2018-08-01T10:40:00Z",
        "u2,2,olx,a,2018-08-01T10:40:00Z",
        "u1,3,olx,b,2018-08-01T10:40:00Z",
        "u1,4,letgo,a,2018-08-01T10:50:00Z",
        "u3,5,olx,a,2018-08-02T00:00:00Z",
    ];
    assert_eq!(answer(&context, sql).await, expected);
    assert_eq!(answer(&context, "select count(*) from raw.edits").await, ["5"]);
}

#[tokio::test]
async fn conditions_filter_rows_and_prune_files() {
    let (context, source) = context(FILES, |_| {}).await;
    let cases = [
        ("data_chunk = '2018-08-01T10:40:00Z'", "3"),
        ("data_chunk >= '2018-08-01T10:50:00Z' and data_chunk < '2018-08-02'", "1"),
        ("data_chunk between '2018-08-01T10:40:00Z' and '2018-08-01T10:50:00Z'", "4"),
        ("\"user\" = 'u1' and data_chunk > '2018-08-01T10:40:00Z'", "1"),
        ("\"user\" in ('u2', 'u3')", "2"),
        ("brand = 'letgo' or n = 5", "2"),
        ("date_trunc('day', data_chunk) = '2018-08-02'", "1"),
        // Casts to a date are not chunks but midnights.
        ("data_chunk::date = timestamp '2018-08-01'", "4"),
        ("data_chunk::date <= timestamp '2018-08-01'", "4"),
        ("cast(data_chunk as date) > date_trunc('day', timestamp '2018-08-01T10:00:00')", "1"),
    ];
    for (condition, count) in cases {
        let sql = format!("select count(*) from raw.edits where {condition}");
        assert_eq!(answer(&context, &sql).await, [count], "{condition}");
    }
    let range = |condition: Expr| ChunkRange::of(&[condition]);
    let at = |text: &str| text.parse::<Instant>().unwrap();
    let millis = |text: &str| lit(ScalarValue::TimestampMillisecond(Some(at(text).as_millis()), Some("UTC".into())));
    let one = range(col("data_chunk").eq(millis("2018-08-01T10:40:00Z")));
    let times = Some((at("2018-08-01T10:40:00Z"), at("2018-08-01T10:50:00Z")));
    assert_eq!(one.layout_times(&source), times);
    let nanos = at("2018-08-01T10:40:00Z").as_micros() * 1_000;
    let between_micros = |nanos| lit(ScalarValue::TimestampNanosecond(Some(nanos), None));
    let just_round =
        col("data_chunk").gt(between_micros(nanos - 1)).and(col("data_chunk").lt(between_micros(nanos + 1)));
    assert_eq!(range(just_round).layout_times(&source), times);
}

/// What a query must read is told by arithmetic on the names of the files, one a minute of three hours.
#[tokio::test]
async fn a_query_reads_the_chunks_that_it_asks_for_and_no_others() {
    let minutes = 10 * 60..13 * 60_i64;
    let key = |minute: i64| format!("olx/2018/08/01/{:02}{:02}-a", minute / 60, minute % 60);
    let files: Vec<_> = minutes.clone().map(|minute| (key(minute), format!("{{\"n\":{minute}}}"))).collect();
    let files: Vec<_> = files.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    let (context, _) = context(&files, |_| {}).await;
    let midnight = "2018-08-01T00:00:00Z".parse::<Instant>().unwrap().as_millis();
    for literal in ["09:00:00", "10:40:00", "10:40:00.001", "10:45:00", "10:49:59.999", "12:59:00", "14:00:00"] {
        let at = format!("2018-08-01T{literal}Z");
        let asked = at.parse::<Instant>().unwrap().as_millis();
        for (operator, orders) in [
            ("=", &[Ordering::Equal][..]),
            ("<", &[Ordering::Less]),
            ("<=", &[Ordering::Less, Ordering::Equal]),
            (">", &[Ordering::Greater]),
            (">=", &[Ordering::Greater, Ordering::Equal]),
        ] {
            let sql = format!("select n from raw.edits where data_chunk {operator} '{at}'");
            let plan = context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
            datafusion::physical_plan::collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
            let wanted = |minute: &i64| orders.contains(&(midnight + minute / 10 * 10 * 60_000).cmp(&asked));
            let bytes = "{\"n\":600}".len() * minutes.clone().filter(wanted).count();
            assert_eq!(scanned(&*plan), bytes, "{operator} {at}");
        }
    }
}

#[tokio::test]
async fn a_query_prunes_by_the_plan_that_datafusion_makes_of_it() {
    let (context, _) = context(FILES, |_| {}).await;
    let sql = "select n from raw.edits where data_chunk >= '2018-08-01T10:50:00Z' and data_chunk < '2018-08-02'";
    let plan = context.sql(sql).await.unwrap().into_optimized_plan().unwrap();
    let mut ranges = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            ranges.push(ChunkRange::of(&scan.filters));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    let at =
        |text: &str| lit(ScalarValue::TimestampMillisecond(Some(text.parse::<Instant>().unwrap().as_millis()), None));
    let expected = [col("data_chunk").gt_eq(at("2018-08-01T10:50:00Z")), col("data_chunk").lt(at("2018-08-02"))];
    assert_eq!(ranges, [ChunkRange::of(&expected)]);
}

#[tokio::test]
async fn broken_files_are_left_out() {
    let gzip = [&b"\x1f\x8b\x08\0"[..], &[0; 20]].concat();
    let (context, source) = context(FILES, |_| {}).await;
    let path = source.location.object_path(&FileKey::new("olx/2018/08/01/1043-broken"));
    source.location.store().put_opts(&path, gzip.into(), Default::default()).await.unwrap();
    assert_eq!(answer(&context, "select count(*) from raw.edits").await, ["5"]);
}

#[tokio::test]
async fn a_file_that_is_not_the_listed_one_asks_for_another_plan() {
    let (context, source) = context(FILES, |_| {}).await;
    let (store, path) = (source.location.store(), |key| source.location.object_path(&FileKey::new(key)));
    let plan = async || context.sql("select * from raw.edits").await.unwrap().create_physical_plan().await.unwrap();
    let changed = async |plan| {
        let error = datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap_err();
        let error = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        error.last().unwrap().downcast_ref::<FileChanged>().cloned()
    };
    let replaced = plan().await;
    let key = "olx/2018/08/01/1049-b";
    store.put_opts(&path(key), "{}".into(), Default::default()).await.unwrap();
    assert_eq!(changed(replaced).await, Some(FileChanged { file: key.to_owned() }));
    let gone = plan().await;
    store.delete(&path(key)).await.unwrap();
    assert_eq!(changed(gone).await, Some(FileChanged { file: key.to_owned() }));
}

#[tokio::test]
async fn a_task_larger_than_what_is_held_comes_whole_and_a_limit_ends_it_early() {
    let text: String = (0..5_000).map(|n| format!("{{\"user\":\"u\",\"n\":{n}}}\n")).collect();
    let (context, _) = context(&[("olx/2018/08/01/1042-a", &text)], |_| {}).await;
    context.sql("set datafusion.execution.batch_size = 10").await.unwrap();
    assert_eq!(answer(&context, "select count(*), sum(n) from raw.edits").await, ["5000,12497500"]);
    assert_eq!(answer(&context, "select \"user\" from raw.edits limit 2").await, ["u", "u"]);
}

#[tokio::test]
async fn repeated_events_count_once_within_a_task() {
    let (context, _) = context(FILES, |spec| spec.unique = Some("user".to_owned())).await;
    assert_eq!(answer(&context, "select n from raw.edits order by n").await, ["1", "2", "4", "5"]);
}

#[tokio::test]
async fn a_plan_tells_the_stored_bytes_that_it_read() {
    let (context, _) = context(FILES, |_| {}).await;
    let plan = context.sql("select * from raw.edits").await.unwrap().create_physical_plan().await.unwrap();
    datafusion::physical_plan::collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    assert_eq!(scanned(&*plan), FILES.iter().map(|(_, text)| text.len()).sum::<usize>());
}

fn scanned(plan: &dyn ExecutionPlan) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name("bytes_scanned"));
    own.map_or(0, |value| value.as_usize()) + plan.children().into_iter().map(|child| scanned(&**child)).sum::<usize>()
}
