//! From files to rows, whole: every kind of good and bad input, and what the report says of it.

mod broken;
mod formats;
mod threads;
mod transfers;

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{SessionContext, col, lit};
use neartime_model::{ChunkWidth, Classify, ErrorKind, FileKey, FileVersion, Instant, Span};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::report::Reason;
use crate::source::{
    Column as SourceColumn, ColumnKind, Delimited, Format, Header, Outside, Pattern, SourceSpec, TimeUnit,
};
use crate::{BadLine, Layout, testing};

const CHUNK: &str = "2018-08-01T10:40:00Z";
const KEY: &str = "olx/2018/08/01/1042-a.gz";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A source in a bucket of its own.
struct Raw {
    store: Arc<InMemory>,
    spec: SourceSpec,
    files: Vec<InputFile>,
    threads: usize,
    batch_rows: usize,
}

impl Raw {
    fn new(format: Format, columns: &[(&str, ColumnKind)]) -> Self {
        let store = Arc::new(InMemory::new());
        let layout = Layout::parse("{brand}/%Y/%m/%d/%H%M-{host}.gz").unwrap();
        let columns = columns.iter().map(|(name, kind)| SourceColumn::new(*name, kind.clone())).collect();
        let location = testing::memory(Arc::clone(&store));
        let spec = SourceSpec::new("s".parse().unwrap(), location, layout, format, columns);
        Self { store, spec, files: Vec::new(), threads: 2, batch_rows: 8192 }
    }

    fn json(columns: &[(&str, &str)]) -> Self {
        let columns: Vec<_> = columns.iter().map(|(name, kind)| (*name, kind.parse().unwrap())).collect();
        Self::new(Format::Json, &columns)
    }

    async fn put(mut self, key: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let path = self.spec.location.object_path(&FileKey::new(key));
        let size = bytes.len() as u64;
        self.store.put(&path, bytes.into()).await.unwrap();
        let version = self.spec.location.version_of(&self.store.head(&path).await.unwrap());
        self.files.push(InputFile { key: FileKey::new(key), version, size });
        self
    }

    async fn text(self, text: &str) -> Self {
        self.put(KEY, gzip(text.as_bytes())).await
    }

    fn request(&self, source: &Source) -> ReadRequest {
        let chunk = ChunkWidth::TEN_MINUTES.chunk_of(CHUNK.parse::<Instant>().unwrap());
        let request = ReadRequest::new(chunk, self.files.clone(), Wanted::everything(source)).threads(self.threads);
        ReadRequest { batch_rows: self.batch_rows, ..request }
    }

    async fn read(&self) -> Result<(Vec<String>, ReadReport), ReadError> {
        self.read_wanted(|wanted| wanted).await
    }

    /// Reads and shows each row as its values with `|` between, sorted.
    async fn read_wanted(&self, change: impl FnOnce(Wanted) -> Wanted) -> Result<(Vec<String>, ReadReport), ReadError> {
        let source = Arc::new(Source::new(self.spec.clone()).unwrap());
        let mut request = self.request(&source);
        request.wanted = change(request.wanted);
        let schema = request.wanted.schema(&source)?;
        let mut reading = read(&source, request, &SessionContext::new().task_ctx());
        let mut rows = Vec::new();
        while let Some(batch) = reading.batches.recv().await {
            assert_eq!(batch.schema(), schema);
            assert!(batch.num_rows() <= self.batch_rows || source.unique.is_some());
            rows.extend(show(&batch));
        }
        rows.sort();
        Ok((rows, reading.report().await?))
    }
}

fn show(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    let row = |at| columns.iter().map(|column| column.value(at).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// Reasons with their counts, and the lines of the examples.
fn refused(report: &ReadReport) -> Vec<(&'static str, u64, Vec<u64>)> {
    let lines = |reason| report.examples.iter().filter(|bad| bad.reason == reason).map(|bad| bad.line).collect();
    report.counts.iter().map(|(reason, count)| (reason.name(), *count, lines(*reason))).collect()
}

#[tokio::test]
async fn rows_have_columns_captures_and_the_chunk() {
    let text = "{\"user\":\"u1\",\"n\":1,\"ts\":\"2018-08-01T10:42:34Z\"}\n{\"n\":\"2\",\"ts\":\"2018-08-01 10:43\"}";
    let raw = Raw::json(&[("user", "string"), ("n", "int"), ("ts", "timestamp")]).text(text).await;
    let (rows, report) = raw.read().await.unwrap();
    let expected =
        ["-|2|2018-08-01T10:43:00Z|olx|a|2018-08-01T10:40:00Z", "u1|1|2018-08-01T10:42:34Z|olx|a|2018-08-01T10:40:00Z"];
    assert_eq!(rows, expected);
    assert_eq!((report.lines, report.rows, report.outside_rows, report.dropped()), (2, 2, 0, 0));
    assert_eq!(report.bytes_inflated, text.len() as u64);
    assert_eq!(report.bytes_read, raw.files[0].size);
    assert_eq!(report.examples, []);
}

#[tokio::test]
async fn only_wanted_columns_come_and_in_the_order_asked_for() {
    let raw = Raw::json(&[("a", "string"), ("b", "int"), ("c", "int")]).text(r#"{"a":"x","b":"no","c":3}"#).await;
    let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let some = columns(&["data_chunk", "c", "host", "a"]);
    let (rows, report) = raw.read_wanted(|wanted| Wanted { columns: some, ..wanted }).await.unwrap();
    assert_eq!(rows, ["2018-08-01T10:40:00Z|3|a|x"]);
    // Nobody reads `b`, so that nobody minds what it holds.
    assert_eq!(report.count(Reason::Misfit), 0);
    let (rows, report) = raw.read_wanted(|wanted| Wanted { columns: Vec::new(), ..wanted }).await.unwrap();
    assert_eq!((rows, report.rows), (vec![String::new()], 1));
    let unknown = raw.read_wanted(|wanted| Wanted { columns: columns(&["z"]), ..wanted }).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn bad_lines_are_told_apart_counted_and_shown() {
    let lines = [
        r#"{"a":"good"}"#,
        "not json",
        r#"["a"]"#,
        "",
        "  \t ",
        r#"{"a":"cut of"#,
        r#"{"b":tru,"a":"x"}"#,
        r#"  {"a":"white space"}  "#,
        r#"{"a":"first","a":"second"}"#,
        "{}",
    ];
    let raw = Raw::json(&[("a", "string")]).text(&lines.join("\r\n")).await;
    let (rows, report) = raw.read().await.unwrap();
    let values: Vec<_> = rows.iter().map(|row| row.split('|').next().unwrap()).collect();
    assert_eq!(values, ["-", "first", "good", "white space"]);
    let expected = [("not_json_object", 2, vec![2, 3]), ("line_cut_off", 1, vec![6]), ("bad_json", 1, vec![7])];
    assert_eq!(refused(&report), expected);
    assert_eq!((report.lines, report.rows), (8, 4));
    let example = BadLine {
        key: FileKey::new(KEY),
        line: 6,
        column: None,
        reason: Reason::LineCutOff,
        text: r#"{"a":"cut of"#.to_owned(),
    };
    assert_eq!(report.examples[2], example);
}

#[tokio::test]
async fn a_byte_order_mark_and_a_missing_newline_lose_nothing() {
    let raw = Raw::json(&[("a", "int")]).put(KEY, gzip(b"\xef\xbb\xbf{\"a\":1}\r\n{\"a\":2}")).await;
    let (rows, report) = raw.read().await.unwrap();
    assert_eq!((rows.len(), report.dropped()), (2, 0));
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_null_and_its_row_stays() {
    let good = br#"{"s":"x","n":1,"l":["y"]}"#;
    let bad = [
        b"{\"s\":\"\xff\",\"n\":1.5,\"l\":[\"\\ud800\"]}".to_vec(),
        br#"{"s":"nul \u0000 is text","n":"","l":""}"#.to_vec(),
    ];
    let text = [&good[..], &bad[0], &bad[1]].join(&b'\n');
    let raw = Raw::json(&[("s", "string"), ("n", "int"), ("l", "list<string>")]).put(KEY, gzip(&text)).await;
    let (rows, report) = raw.read().await.unwrap();
    let tail = "olx|a|2018-08-01T10:40:00Z";
    assert_eq!(rows, [format!("-|-|-|{tail}"), format!("nul \0 is text|-|-|{tail}"), format!("x|1|[y]|{tail}")]);
    assert_eq!(refused(&report), [("misfit", 3, vec![2, 2, 2])]);
    let columns: Vec<_> = report.examples.iter().map(|bad| bad.column.as_deref().unwrap()).collect();
    assert_eq!(columns, ["l", "n", "s"]);
    assert_eq!(report.dropped(), 0);
}

#[tokio::test]
async fn lines_without_a_required_column_are_dropped() {
    let text = "{\"u\":\"\"}\n{\"u\":null}\n{\"n\":1}\n{\"u\":0}\n{\"u\":\"x\"}";
    let mut raw = Raw::json(&[("u", "string"), ("n", "int")]).text(text).await;
    raw.spec.required = vec!["u".to_owned()];
    let (rows, report) = raw.read_wanted(|wanted| Wanted { columns: vec!["u".to_owned()], ..wanted }).await.unwrap();
    assert_eq!(rows, ["0", "x"]);
    assert_eq!(refused(&report), [("missing_required", 3, vec![1, 2, 3])]);
    // A value that is there but does not fit is not missing.
    let mut raw = Raw::json(&[("n", "int")]).text(r#"{"n":"many"}"#).await;
    raw.spec.required = vec!["n".to_owned()];
    let (rows, report) = raw.read().await.unwrap();
    assert_eq!((rows.len(), refused(&report)), (1, vec![("misfit", 1, vec![1])]));
}

/// Lines with the event times `times`.
fn timed(times: &[&str]) -> String {
    times.iter().map(|time| format!("{{\"ts\":{time}}}\n")).collect()
}

#[tokio::test]
async fn impossible_event_times_drop_their_line_even_where_no_feature_reads_them() {
    let times = [
        r#""2018-08-01T10:45:00Z""#,
        "null",
        r#""""#,
        r#""yesterday""#,
        "[1]",
        r#""2018-08-02T10:50:00Z""#,
        r#""2018-08-02T10:50:00.001Z""#,
        r#""2018-07-02T10:40:00Z""#,
        r#""2018-07-02T10:39:59.999Z""#,
        r#""2999-01-01""#,
        r#""0001-01-01""#,
    ];
    let text = timed(&times) + "{\"other\":1}\n";
    let raw = Raw::json(&[("ts", "timestamp"), ("other", "int")]).text(&text).await;
    let (rows, report) =
        raw.read_wanted(|wanted| Wanted { columns: vec!["other".to_owned()], ..wanted }).await.unwrap();
    // Exactly a day after the chunk's end, and exactly thirty before its start, are possible.
    assert_eq!(rows.len(), 3);
    let expected = [
        ("missing_event_time", 3, vec![2, 3, 12]),
        ("bad_event_time", 2, vec![4, 5]),
        ("too_far_ahead", 2, vec![7, 10]),
        ("too_far_behind", 2, vec![9, 11]),
    ];
    assert_eq!(refused(&report), expected);
    assert_eq!(report.outside_rows, 2);
    assert!(report.examples.iter().all(|bad| bad.column.as_deref() == Some("ts")));
}

#[tokio::test]
async fn rows_outside_the_chunk_are_kept_or_quarantined() {
    let times =
        ["2018-08-01T10:39:59.999Z", "2018-08-01T10:40:00Z", "2018-08-01T10:49:59.999Z", "2018-08-01T10:50:00Z"];
    let quoted = times.map(|time| format!("\"{time}\""));
    let text = timed(&quoted.each_ref().map(String::as_str));
    let mut raw = Raw::json(&[("ts", "timestamp")]).text(&text).await;
    let (rows, report) = raw.read().await.unwrap();
    assert_eq!((rows.len(), report.outside_rows, report.dropped()), (4, 2, 0));
    raw.spec.outside = Outside::Quarantine;
    let (rows, report) = raw.read().await.unwrap();
    assert_eq!((rows.len(), report.outside_rows), (2, 0));
    assert_eq!(refused(&report), [("outside_chunk", 2, vec![1, 4])]);
    raw.spec.max_behind = Span::ZERO;
    raw.spec.max_ahead = Span::ZERO;
    let (_, report) = raw.read().await.unwrap();
    assert_eq!(refused(&report), [("too_far_behind", 1, vec![1]), ("outside_chunk", 1, vec![4])]);
}

#[tokio::test]
async fn a_source_without_event_time_has_none_to_miss() {
    let (rows, report) = Raw::json(&[("a", "int")]).text("{\"a\":1}\n{}").await.read().await.unwrap();
    assert_eq!((rows.len(), report.dropped(), report.outside_rows), (2, 0, 0));
}

#[tokio::test]
async fn lines_of_a_hundred_megabytes_and_depth_ten_thousand_are_no_trouble() {
    let deep = format!("{{\"deep\":{}{},\"a\":2}}\n", "[".repeat(10_000), "]".repeat(10_000));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"{\"a\":1}\n{\"b\":\"").unwrap();
    for _ in 0..100 {
        encoder.write_all(&[b'x'; 1_000_000]).unwrap();
    }
    encoder.write_all(b"\",\"a\":1}\n").unwrap();
    encoder.write_all(deep.as_bytes()).unwrap();
    let raw = Raw::json(&[("a", "int")]).put(KEY, encoder.finish().unwrap()).await;
    let (rows, report) = raw.read().await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(refused(&report), [("line_too_long", 1, vec![2])]);
    assert_eq!(report.examples[0].text.len(), crate::EXAMPLE_BYTES);
}

#[tokio::test]
async fn a_batch_of_long_texts_is_short() {
    let text = format!("{{\"s\":\"{}\"}}\n", "x".repeat(5_000_000)).repeat(10);
    let raw = Raw::json(&[("s", "string")]).text(&text).await;
    let source = Arc::new(Source::new(raw.spec.clone()).unwrap());
    let mut reading = read(&source, raw.request(&source), &SessionContext::new().task_ctx());
    let mut rows = Vec::new();
    while let Some(batch) = reading.batches.recv().await {
        rows.push(batch.num_rows());
    }
    assert_eq!(rows, [4, 4, 2]);
    reading.report().await.unwrap();
}

#[tokio::test]
async fn gzip_zstd_plain_and_empty_files_are_one_chunk() {
    let line = |n: u32| format!("{{\"a\":{n}}}\n").into_bytes();
    let raw = Raw::json(&[("a", "int")])
        .put("olx/2018/08/01/1040-gz.gz", [gzip(&line(1)), gzip(&line(2)), vec![0; 100]].concat())
        .await
        .put("olx/2018/08/01/1041-zst.gz", zstd::bulk::compress(&line(3), 1).unwrap())
        .await
        .put("olx/2018/08/01/1042-plain.gz", line(4))
        .await
        .put("olx/2018/08/01/1043-empty.gz", Vec::new())
        .await
        .put("olx/2018/08/01/1044-emptygz.gz", gzip(b""))
        .await;
    for threads in [1, 2, 8] {
        let (rows, report) = Raw {
            threads,
            store: Arc::clone(&raw.store),
            spec: raw.spec.clone(),
            files: raw.files.clone(),
            ..Raw::json(&[])
        }
        .read()
        .await
        .unwrap();
        let values: Vec<_> = rows.iter().map(|row| row.split("|2018").next().unwrap()).collect();
        assert_eq!(values, ["1|olx|gz", "2|olx|gz", "3|olx|zst", "4|olx|plain"]);
        assert_eq!(report.bytes_inflated, 32);
    }
}

#[tokio::test]
async fn a_file_that_is_not_gzip_is_bad_lines() {
    let raw = Raw::json(&[("a", "int")]).put(KEY, &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..]).await;
    let (rows, report) = raw.read().await.unwrap();
    assert_eq!((rows.len(), report.count(Reason::NotJsonObject)), (0, 3));
}

#[tokio::test]
async fn another_version_and_a_missing_file_are_told() {
    let mut raw = Raw::json(&[("a", "int")]).text("{\"a\":1}").await;
    let there = std::mem::replace(&mut raw.files[0].version, FileVersion::new("old"));
    match raw.read().await {
        Err(ReadError::Changed { key, found, size }) => {
            assert_eq!((key.as_str(), found, size), (KEY, there, raw.files[0].size));
        }
        other => panic!("{other:?}"),
    }
    raw.files[0].key = FileKey::new("olx/2018/08/01/1043-b.gz");
    assert!(matches!(raw.read().await, Err(ReadError::Gone { .. })));
}

#[tokio::test]
async fn a_directory_is_read_like_a_bucket_and_may_be_away() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("raw").join(KEY);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, gzip(b"{\"a\":1}\n{\"a\":2}\n")).unwrap();
    let mut raw = Raw::json(&[("a", "int")]);
    raw.spec.location = testing::directory(&home.path().join("raw"));
    let object = raw.spec.location.object_path(&FileKey::new(KEY));
    let meta = raw.spec.location.store().head(&object).await.unwrap();
    let version = raw.spec.location.version_of(&meta);
    raw.files = vec![InputFile { key: FileKey::new(KEY), version, size: meta.size }];
    let (rows, _) = raw.read().await.unwrap();
    assert_eq!(rows.len(), 2);
    std::fs::write(&path, gzip(b"{\"a\":1}\n")).unwrap();
    assert!(matches!(raw.read().await, Err(ReadError::Changed { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(raw.read().await, Err(ReadError::Gone { .. })));
    std::fs::remove_dir_all(home.path().join("raw")).unwrap();
    assert_eq!(raw.read().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn rows_that_no_feature_wants_are_left_out() {
    let text = "{\"e\":\"a\",\"n\":1}\n{\"e\":\"b\",\"n\":2}\n{\"e\":\"c\",\"n\":3}\nbad";
    let raw = Raw::json(&[("e", "string"), ("n", "int")]).text(text).await;
    let features = vec![vec![col("e").eq(lit("a"))], vec![col("e").eq(lit("c")), col("n").gt(lit(0))]];
    let wanted = |_| Wanted { columns: vec!["n".to_owned()], rows: Some(features) };
    let (rows, report) = raw.read_wanted(wanted).await.unwrap();
    assert_eq!(rows, ["1", "3"]);
    assert_eq!((report.lines, report.rows, report.filtered, report.dropped()), (4, 2, 1, 1));
}

#[tokio::test]
async fn of_rows_with_the_same_unique_value_the_first_stays() {
    let line = |id: &str, ts: u32, n: u32| format!("{{\"id\":{id},\"ts\":\"2018-08-01T10:4{ts}:00Z\",\"n\":{n}}}\n");
    let first =
        line("\"x\"", 5, 1) + &line("\"y\"", 5, 2) + &line("null", 1, 3) + &line("null", 1, 4) + &line("\"y\"", 5, 5);
    let second =
        line("\"x\"", 3, 6) + &line("\"y\"", 5, 7) + &line("\"z\"", 9, 8) + &line("[", 9, 9) + &line("\"x\"", 3, 10);
    let mut raw = Raw::json(&[("id", "string"), ("ts", "timestamp"), ("n", "int")]);
    raw = raw.put("olx/2018/08/01/1041-b.gz", gzip(second.as_bytes())).await;
    raw = raw.put("olx/2018/08/01/1040-a.gz", gzip(first.as_bytes())).await;
    raw.spec.unique = Some("id".to_owned());
    for (threads, batch_rows) in [(1, 8192), (2, 1), (4, 2)] {
        (raw.threads, raw.batch_rows) = (threads, batch_rows);
        // Neither the value nor the time need be wanted by a feature, and no filter comes before.
        let filter = vec![vec![col("id").eq(lit("q"))]];
        let wanted = |_| Wanted { columns: vec!["n".to_owned()], rows: Some(filter) };
        let (rows, report) = raw.read_wanted(wanted).await.unwrap();
        assert_eq!(rows, ["2", "3", "4", "6", "8"]);
        assert_eq!((report.lines, report.rows, report.duplicates, report.dropped()), (10, 5, 4, 1));
    }
}

#[tokio::test]
async fn rows_whose_unique_value_is_empty_all_stay() {
    let json = "{\"id\":\"\",\"n\":1}\n{\"id\":\"\",\"n\":2}\n{\"id\":null,\"n\":3}\n{\"id\":\"x\",\"n\":4}\n{\"id\":\"x\",\"n\":5}\n";
    let mut raw = Raw::json(&[("id", "string"), ("n", "int")]).text(json).await;
    raw.spec.unique = Some("id".to_owned());
    for batch_rows in [8192, 1] {
        raw.batch_rows = batch_rows;
        let wanted = |_| Wanted { columns: vec!["n".to_owned()], rows: None };
        let (rows, report) = raw.read_wanted(wanted).await.unwrap();
        assert_eq!((rows, report.duplicates), (["1", "2", "3", "4"].map(str::to_owned).to_vec(), 1));
    }
}
