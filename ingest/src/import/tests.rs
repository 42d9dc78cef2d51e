use std::collections::BTreeSet;
use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use neartime_model::{ChunkWidth, Instant, Span};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;

use super::*;
use crate::discover::{Found, Scope, discover};
use crate::layout::Layout;
use crate::location::Location;
use crate::source::{Column, ColumnKind, Delimited, Format, Header, SourceSpec, TimeUnit, Zone};

const STARRED: &str = "%Y/%m/%d/%H%M*.gz";

fn spec(location: Location, layout: &str, format: Format) -> SourceSpec {
    let kind = ColumnKind::Timestamp { unit: TimeUnit::Secs, zone: Zone::default() };
    let columns = vec![Column::new("user", "string".parse().unwrap()), Column::new("ts", kind)];
    SourceSpec::new("events".parse().unwrap(), location, Layout::parse(layout).unwrap(), format, columns)
}

fn source(directory: &Path, layout: &str) -> Arc<Source> {
    let location = Location::directory("raw", directory.join("raw")).unwrap();
    Arc::new(Source::new(spec(location, layout, Format::Json)).unwrap())
}

fn event(user: u64, secs: i64) -> String {
    format!(r#"{{"user": "u{user}",  "ts": {secs}}}"#)
}

/// Lines of two days in no order.
fn disorder(seed: u64, count: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|user| event(user, 1_533_081_600 + random.i64(0..172_800))).collect()
}

async fn run(source: &Arc<Source>, files: &[PathBuf]) -> Result<ImportReport, ImportError> {
    import(source, ImportRequest { files: files.to_vec(), ..ImportRequest::default() }).await
}

fn write(directory: &Path, name: &str, lines: &[String]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

async fn found(source: &Source) -> Vec<Found> {
    let (sender, mut batches) = tokio::sync::mpsc::channel(1_000);
    let discovered = discover(source, Scope::Everything, &sender).await.unwrap();
    assert_eq!(discovered.unmatched, 0, "{discovered:?}");
    let mut found = Vec::new();
    while let Ok(batch) = batches.try_recv() {
        found.extend(batch);
    }
    found
}

/// All lines at the location, each with the start of the chunk of its file.
async fn lines_there(source: &Source) -> Vec<(Instant, String)> {
    let mut lines = Vec::new();
    for file in found(source).await {
        let bytes = source.location.store().get(&source.location.object_path(&file.key)).await.unwrap();
        let mut text = String::new();
        MultiGzDecoder::new(&bytes.bytes().await.unwrap()[..]).read_to_string(&mut text).unwrap();
        lines.extend(text.lines().map(|line| (file.chunk.start(), line.to_owned())));
    }
    lines.sort();
    lines
}

fn expected(lines: &[String]) -> Vec<(Instant, String)> {
    let chunk = |line: &str| {
        let secs = line.rsplit("\"ts\": ").next().unwrap().trim_end_matches('}').parse().unwrap();
        ChunkWidth::TEN_MINUTES.chunk_of(Instant::from_secs(secs)).start()
    };
    let mut expected: Vec<_> = lines.iter().map(|line| (chunk(line), line.clone())).collect();
    expected.sort();
    expected
}

#[tokio::test]
async fn every_line_comes_to_its_chunk_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let lines = disorder(1, 2_000);
    let file = write(home.path(), "dump.json", &lines);
    for layout in [STARRED, "%Y/%m/%d/%Y%m-%d-%H%M%S.gz", "%Y%m%d%H%M*/x-*"] {
        let directory = home.path().join(layout.len().to_string());
        let source = source(&directory, layout);
        let report = run(&source, std::slice::from_ref(&file)).await.unwrap();
        let chunks = expected(&lines).into_iter().map(|(chunk, _)| chunk).collect::<BTreeSet<_>>().len() as u64;
        assert_eq!(lines_there(&source).await, expected(&lines), "{layout}");
        assert_eq!((report.lines, report.placed, report.files_made), (2_000, 2_000, chunks));
        assert!(
            !directory
                .join("raw")
                .read_dir()
                .unwrap()
                .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with('.') })
        );
    }
}

#[tokio::test]
async fn the_same_file_again_adds_nothing_and_another_one_overwrites_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (disorder(1, 300), disorder(2, 300));
    let files = [write(home.path(), "first", &first), write(home.path(), "second", &second)];
    for layout in [STARRED, "%Y/%m/%d/%H%M%S.gz"] {
        let source = source(&home.path().join(layout.len().to_string()), layout);
        let made = run(&source, &files[..1]).await.unwrap().files_made;
        let before: BTreeSet<_> = found(&source).await.into_iter().map(|file| (file.key, file.version)).collect();
        let again = run(&source, &files[..1]).await.unwrap();
        assert_eq!((again.files_made, again.files_there, again.placed), (0, made, 300));
        let after: BTreeSet<_> = found(&source).await.into_iter().map(|file| (file.key, file.version)).collect();
        assert_eq!(before, after);
        run(&source, &files[1..]).await.unwrap();
        assert_eq!(run(&source, &files).await.unwrap().files_made, 0);
        assert_eq!(lines_there(&source).await, expected(&[first.clone(), second.clone()].concat()), "{layout}");
    }
}

#[tokio::test]
async fn files_with_the_same_lines_in_a_chunk_keep_both() {
    let home = tempfile::tempdir().unwrap();
    let same = event(1, 1_533_081_600);
    let lines = [vec![same.clone(), event(2, 1_533_090_000)], vec![same.clone(), event(3, 1_533_090_000)]];
    let files = [write(home.path(), "a", &lines[0]), write(home.path(), "b", &lines[1])];
    let source = source(home.path(), STARRED);
    run(&source, &files).await.unwrap();
    assert_eq!(lines_there(&source).await, expected(&lines.concat()));
}

#[tokio::test]
async fn what_cannot_be_placed_is_told() {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        event(1, 1_533_081_600),
        "not json".to_owned(),
        r#"{"user": "x"}"#.to_owned(),
        r#"{"user": "x", "ts": ""}"#.to_owned(),
        r#"{"user": "x", "ts": "soon"}"#.to_owned(),
        r#"{"user": "x", "ts": 999999999999999}"#.to_owned(),
        String::new(),
        r#"  {"ts": "1533081600.5", "user": null}"#.to_owned() + "\r",
    ];
    let source = source(home.path(), STARRED);
    let file = write(home.path(), "dump", &lines);
    let report = run(&source, std::slice::from_ref(&file)).await.unwrap();
    assert_eq!((report.lines, report.placed), (7, 2));
    let counts = [(Reason::NotJsonObject, 1), (Reason::MissingEventTime, 2), (Reason::BadEventTime, 2)];
    assert_eq!(report.refused, BTreeMap::from(counts));
    assert_eq!(report.examples.len(), 5);
    assert_eq!(report.examples[0].key.as_str(), file.display().to_string());
    assert_eq!(report.examples[0].line, 2);
}

#[tokio::test]
async fn a_header_is_repeated_in_every_file() {
    let home = tempfile::tempdir().unwrap();
    let lines = ["ts|user|more", "1533081600|a|1", "1533090000|\"b|\n2\"|2", "1533081601|c|3"].map(str::to_owned);
    let location = Location::directory("raw", home.path().join("raw")).unwrap();
    let format = Format::Delimited(Delimited::new("|", "\"", Header::FirstLine).unwrap());
    let source = Arc::new(Source::new(spec(location, STARRED, format)).unwrap());
    let report = run(&source, &[write(home.path(), "dump", &lines)]).await.unwrap();
    assert_eq!((report.lines, report.placed, report.files_made), (3, 3, 2));
    let there: Vec<String> = lines_there(&source).await.into_iter().map(|(_, line)| line).collect();
    assert_eq!(there.iter().filter(|line| *line == "ts|user|more").count(), 2);
    assert!(there.contains(&"1533090000|\"b|".to_owned()) && there.contains(&"2\"|2".to_owned()));
}

#[tokio::test]
async fn a_broken_file_is_left_out_and_the_others_are_not() {
    let home = tempfile::tempdir().unwrap();
    let lines = disorder(1, 100);
    let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(disorder(2, 1_000).join("\n").as_bytes()).unwrap();
    let gz = gz.finish().unwrap();
    let cut_off = home.path().join("cut-off.gz");
    std::fs::write(&cut_off, &gz[..gz.len() / 2]).unwrap();
    let source = source(home.path(), STARRED);
    let report = run(&source, &[cut_off.clone(), write(home.path(), "good", &lines)]).await.unwrap();
    assert_eq!(report.broken.len(), 1);
    assert_eq!(report.broken[0].0, cut_off);
    assert_eq!((report.lines, report.placed), (100, 100));
    assert_eq!(lines_there(&source).await, expected(&lines));
    std::fs::write(&cut_off, gz).unwrap();
    assert_eq!(run(&source, &[cut_off]).await.unwrap().placed, 1_000);
}

#[tokio::test]
async fn captures_are_given() {
    let home = tempfile::tempdir().unwrap();
    let source = source(home.path(), "{brand}/%Y/%m/%d/%H%M-{host}-*.gz");
    let request = |captures: &[(&str, &str)]| ImportRequest {
        files: vec![write(home.path(), "dump", &[event(1, 1_533_081_600)])],
        captures: captures.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..ImportRequest::default()
    };
    let refusal = import(&source, request(&[("brand", "olx")])).await.unwrap_err();
    assert!(refusal.to_string().contains("--set host="), "{refusal}");
    let refusal = import(&source, request(&[("brand", "olx"), ("host", "w"), ("x", "y")])).await.unwrap_err();
    assert!(refusal.to_string().contains("no capture `x`"), "{refusal}");
    assert!(import(&source, request(&[("brand", "o/x"), ("host", "w")])).await.is_err());
    import(&source, request(&[("brand", "olx"), ("host", "w1")])).await.unwrap();
    let found = found(&source).await;
    assert_eq!(found[0].path.as_str(), "olx/");
    assert!(found[0].key.as_str().starts_with("olx/2018/08/01/0000-w1-i"));
}

#[tokio::test]
async fn a_chunk_without_free_names_is_told() {
    let home = tempfile::tempdir().unwrap();
    let location = Location::directory("raw", home.path().join("raw")).unwrap();
    let spec = spec(location, "%Y/%m/%d.gz", Format::Json);
    let source = Arc::new(Source::new(SourceSpec { width: ChunkWidth::DAY, ..spec }).unwrap());
    run(&source, &[write(home.path(), "a", &[event(1, 1_533_081_600)])]).await.unwrap();
    let error = run(&source, &[write(home.path(), "b", &[event(2, 1_533_081_600)])]).await.unwrap_err();
    assert!(matches!(error, ImportError::NoNameLeft { names: 1, .. }), "{error}");
    assert_eq!(lines_there(&source).await.len(), 1);
}

/// A log that has grown is another content: its old lines count twice, which has to be said.
#[tokio::test]
async fn files_of_earlier_imports_in_the_same_chunks_are_told() {
    let home = tempfile::tempdir().unwrap();
    let lines = disorder(5, 40);
    let files = [write(home.path(), "log", &lines[..30]), write(home.path(), "grown", &lines)];
    let elsewhere = write(home.path(), "elsewhere", &[event(1, 1_600_000_000)]);
    let bucket = Location::bucket("s3://raw/in", Arc::new(InMemory::new())).unwrap();
    let bucket = Arc::new(Source::new(spec(bucket, STARRED, Format::Json)).unwrap());
    let starred = |layout: &str| source(&home.path().join(layout.len().to_string()), layout);
    for source in [starred(STARRED), starred("%Y%m%d%H%M*/x-*"), starred("*/%Y%m%d%H%M-*.json.gz"), bucket] {
        let layout = source.layout.to_string();
        assert_eq!(run(&source, &files[..1]).await.unwrap().overlaps, [], "{layout}");
        assert_eq!(run(&source, &[files[0].clone(), elsewhere.clone()]).await.unwrap().overlaps, [], "{layout}");
        let overlaps = run(&source, &files).await.unwrap().overlaps;
        assert_eq!(overlaps.len(), 0, "{layout}: both are of this import");
        let again = write(home.path(), "again", &lines[1..]);
        let [overlap] = &run(&source, std::slice::from_ref(&again)).await.unwrap().overlaps[..] else {
            panic!("{layout}")
        };
        assert_eq!((&overlap.file, overlap.others.len()), (&again, 2), "{layout}");
        let names: Vec<_> = found(&source).await.into_iter().map(|file| file.key.to_string()).collect();
        for mark in overlap.others.iter().chain([&overlap.mark]) {
            assert!(names.iter().any(|name| name.contains(mark)), "{layout}: {mark} in {names:?}");
        }
    }
}

#[tokio::test]
async fn a_bucket_is_imported_into_as_well() {
    let home = tempfile::tempdir().unwrap();
    let location = Location::bucket("s3://raw/in", Arc::new(InMemory::new())).unwrap();
    let source = Arc::new(Source::new(spec(location, STARRED, Format::Json)).unwrap());
    let lines = disorder(3, 50);
    let file = write(home.path(), "dump", &lines);
    run(&source, std::slice::from_ref(&file)).await.unwrap();
    assert_eq!(run(&source, &[file]).await.unwrap().files_made, 0);
    assert_eq!(lines_there(&source).await, expected(&lines));
}

#[test]
fn what_memory_has_no_room_for_is_spilled() {
    let home = tempfile::tempdir().unwrap();
    let mut broken = Cut::with_room(home.path(), 10);
    broken.add(ChunkWidth::TEN_MINUTES.chunk_of(Instant::EPOCH), b"of a file that turned out to be broken").unwrap();
    let mut cut = Cut::with_room(home.path(), 1_000);
    cut.set_header(b"header");
    let mut random = fastrand::Rng::with_seed(4);
    let mut naive: BTreeMap<Chunk, String> = BTreeMap::new();
    for number in 0..500 {
        let at = Instant::from_secs(random.i64(0..6_000));
        let chunk = ChunkWidth::TEN_MINUTES.chunk_of(at);
        let line = format!("line {number}");
        cut.add(chunk, line.as_bytes()).unwrap();
        assert!(cut.held_bytes() <= 1_000);
        *naive.entry(chunk).or_insert("header\n".to_owned()) += &(line + "\n");
    }
    let files = cut.finish(ContentId::default()).unwrap();
    assert_eq!(files.len(), naive.len());
    for file in files {
        let mut text = String::new();
        MultiGzDecoder::new(std::fs::File::open(&file.path).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, naive[&file.chunk]);
    }
}

#[tokio::test]
async fn files_that_are_not_there_are_told_before_anything_is_made() {
    let home = tempfile::tempdir().unwrap();
    let source = source(home.path(), STARRED);
    let good = write(home.path(), "good", &disorder(1, 10));
    for wrong in [home.path().join("missing"), home.path().to_owned()] {
        run(&source, &[good.clone(), wrong]).await.unwrap_err();
        assert!(!home.path().join("raw").exists());
    }
}

#[tokio::test]
async fn lines_before_since_are_pointed_out() {
    let home = tempfile::tempdir().unwrap();
    let location = Location::directory("raw", home.path().join("raw")).unwrap();
    let since = Some(Instant::from_secs(1_533_081_600) + Span::from_days(1));
    let source = Arc::new(Source::new(SourceSpec { since, ..spec(location, STARRED, Format::Json) }).unwrap());
    let lines = [event(1, 1_533_081_600), event(2, 1_533_081_600 + 90_000)];
    let report = run(&source, &[write(home.path(), "dump", &lines)]).await.unwrap();
    assert_eq!((report.placed, report.before_since), (2, 1));
}
