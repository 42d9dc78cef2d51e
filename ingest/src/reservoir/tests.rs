use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant as Monotonic};

use async_trait::async_trait;
use bytes::Bytes;
use flate2::read::GzDecoder;
use neartime_model::{Classified, FileKey, Instant, SourceName, Span};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::channel::{Place, Record, ShardId};
use crate::layout::Layout;
use crate::source::{Column, ColumnKind, Delimited, Due, Format, Header, Source, SourceSpec};
use crate::testing::{directory, memory};

const LAYOUT: &str = "%Y/%m/%d/%H%M-{shard}-{sequence}.gz";
const SHARD: &str = "shardId-000000000003";

fn source(store: &Arc<InMemory>, layout: &str) -> Arc<Source> {
    let columns = vec![Column::new("id", ColumnKind::String)];
    let name = SourceName::new("events").unwrap();
    let layout = Layout::parse(layout).unwrap();
    Arc::new(Source::new(SourceSpec::new(name, memory(Arc::clone(store)), layout, Format::Json, columns)).unwrap())
}

fn cutter(store: &Arc<InMemory>, limits: CutLimits) -> Cutter {
    Cutter::new(Reservoir::new(source(store, LAYOUT)).unwrap(), ShardId::new(SHARD), limits)
}

fn limits() -> CutLimits {
    CutLimits::of(&source(&Arc::new(InMemory::new()), LAYOUT))
}

fn at(text: &str) -> Instant {
    text.parse().unwrap()
}

fn record(place: &str, arrived_at: &str, data: &str) -> Record {
    let arrived_at = at(&format!("2018-08-01T{arrived_at}Z"));
    Record { place: place.parse().unwrap(), arrived_at, data: Bytes::copy_from_slice(data.as_bytes()) }
}

fn inflated(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn only_sources_with_room_for_shard_and_sequence() {
    let store = Arc::new(InMemory::new());
    for good in [
        LAYOUT,
        "%Y/%m/%d/%H%M_{shard}_{sequence}.gz",
        "%Y%m%d%H%M/{shard}/{sequence}",
        "%Y/%m/%d/%H%M/*-{sequence}-{shard}.gz",
    ] {
        Reservoir::new(source(&store, good)).unwrap();
    }
    for (wrong, problem) in [
        ("%Y/%m/%d/%H%M.gz", "must capture"),
        ("%Y/%m/%d/%H%M-{shard}.gz", "must capture"),
        ("{brand}/%Y/%m/%d/%H%M-{shard}-{sequence}.gz", "must capture"),
        ("%Y/%m/%d/%H%M-{shard}-{sequence}-{host}.gz", "must capture"),
        ("{shard}/%Y/%m/%d/%H%M-{sequence}.gz", "after the last"),
        ("%Y/%m/%d/{shard}/%H%M-{sequence}.gz", "after the last"),
        ("%Y/%m/%d/%H%M-{sequence}_{shard}.gz", "put something between"),
    ] {
        let error = Reservoir::new(source(&store, wrong)).unwrap_err().to_string();
        assert!(error.contains(problem), "{wrong}: {error}");
    }
    let base = source(&store, LAYOUT);
    let format = Format::Delimited(Delimited::new("|", "", Header::FirstLine).unwrap());
    let with_header = Source::new(SourceSpec { format, ..(**base).clone() }).unwrap();
    assert!(Reservoir::new(Arc::new(with_header)).unwrap_err().to_string().contains("line of names"));
    let home = tempfile::tempdir().unwrap();
    let local = Source::new(SourceSpec { location: directory(home.path()), ..(**base).clone() }).unwrap();
    assert!(Reservoir::new(Arc::new(local)).unwrap_err().to_string().contains("directory"));
}

#[test]
fn cuts_at_the_edge_of_a_chunk_and_names_what_is_in_it() {
    let store = Arc::new(InMemory::new());
    let mut cutter = cutter(&store, limits());
    let now = Monotonic::now();
    let mut files = Vec::new();
    for record in [
        record("101", "10:48:00", "{\"id\":1}"),
        record("102:0", "10:49:59.9", "{\"id\":2}\n"),
        record("102:1", "10:49:59.9", ""),
        record("102:2", "10:50:00", "{\"id\":3}"),
        record("103", "10:50:01", "{\"id\":4}\n{\"id\":5}"),
    ] {
        files.extend(cutter.add(&record, now).unwrap());
    }
    files.extend(cutter.flush().unwrap());
    assert_eq!(cutter.flush().unwrap(), None);
    let told: Vec<_> = files.iter().map(|file| (file.key.as_str(), inflated(&file.bytes), file.records)).collect();
    let expected = [
        ("2018/08/01/1048-000000000003-101_102.0.gz", "{\"id\":1}\n{\"id\":2}\n".to_owned(), 2),
        ("2018/08/01/1050-000000000003-102.2_103.gz", "{\"id\":3}\n{\"id\":4}\n{\"id\":5}\n".to_owned(), 2),
    ];
    assert_eq!(told, expected);
    assert_eq!(files[0].chunk.start(), at("2018-08-01T10:40:00Z"));
    assert_eq!(files[0].last, "102:0".parse::<Place>().unwrap());
    let source = source(&store, LAYOUT);
    for file in &files {
        let matched = source.layout.match_key(file.key.as_str()).unwrap();
        assert_eq!(source.width.chunk_of(matched.at), file.chunk);
        assert_eq!(matched.row_captures[0], "000000000003");
    }
}

#[test]
fn records_wait_no_longer_than_their_chunk_can() {
    let age = |delay: &str, due: Due| {
        let base = source(&Arc::new(InMemory::new()), LAYOUT);
        let spec = SourceSpec { delay: delay.parse().unwrap(), due, ..(**base).clone() };
        CutLimits::of(&Source::new(spec).unwrap()).age.as_secs()
    };
    assert_eq!([age("3m", Due::End), age("30s", Due::End), age("0s", Due::End), age("2h", Due::End)], [60, 10, 1, 60]);
    assert_eq!(age("3m", Due::Landing), 10);
}

#[test]
fn cuts_by_size_and_age() {
    let store = Arc::new(InMemory::new());
    let limits = CutLimits { bytes: 40_000, age: Duration::from_secs(60) };
    let mut cutter = cutter(&store, limits);
    assert_eq!(cutter.due(), None);
    let (start, mut random) = (Monotonic::now(), fastrand::Rng::with_seed(1));
    let (mut files, mut lines) = (Vec::new(), 0);
    for number in 0..20_000 {
        let data = format!("{{\"id\":\"{:032x}\"}}", random.u128(..));
        let added =
            cutter.add(&record(&number.to_string(), "10:42:00", &data), start + Duration::from_secs(number)).unwrap();
        files.extend(added);
    }
    assert!(files.len() > 5);
    for file in &files {
        assert!(file.bytes.len() < 40_000 + 70_000, "{}", file.bytes.len());
        lines += inflated(&file.bytes).lines().count();
    }
    lines += cutter.flush().unwrap().map_or(0, |file| inflated(&file.bytes).lines().count());
    assert_eq!(lines, 20_000);
    cutter.add(&record("90000", "10:42:00", "x"), start).unwrap();
    cutter.add(&record("90001", "10:42:00", "x"), start + Duration::from_secs(50)).unwrap();
    assert_eq!(cutter.due(), Some(start + Duration::from_secs(60)));
}

#[tokio::test]
async fn a_name_is_given_once() {
    let store = Arc::new(InMemory::new());
    let reservoir = Reservoir::new(source(&store, LAYOUT)).unwrap();
    let file = |data: &str| {
        let mut cutter = cutter(&store, limits());
        cutter.add(&record("7", "10:42:00", data), Monotonic::now()).unwrap();
        cutter.flush().unwrap().unwrap()
    };
    let now = Instant::from_micros(chrono_now());
    let first = put(&reservoir, &file("{}"), now).await.unwrap();
    assert_eq!((first.key.as_str(), first.path.as_str()), ("2018/08/01/1042-000000000003-7_7.gz", ""));
    let listed = store.head(&Path::from("2018/08/01/1042-000000000003-7_7.gz")).await.unwrap();
    assert_eq!(first.version, reservoir.source().location.version_of(&listed));
    assert_eq!(put(&reservoir, &file("{}"), now).await.unwrap(), first);
    // The same lines, packed by another version of the program.
    let mut other = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut other, b"{}\n").unwrap();
    let packed = RawFile { bytes: other.finish().unwrap().into(), ..file("{}") };
    assert_eq!(put(&reservoir, &packed, now).await.unwrap(), first);
    assert!(matches!(put(&reservoir, &file("{\"other\":1}"), now).await, Err(ReservoirError::Taken { .. })));
    // Old enough that the sweep could take it away: it is made new before it is registered.
    let renewed = put(&reservoir, &file("{}"), now + Span::from_days(6)).await.unwrap();
    assert_ne!(renewed.version, first.version);
}

fn chrono_now() -> i64 {
    use neartime_model::Clock;
    neartime_model::SystemClock.now().as_micros()
}

struct Registered(HashSet<FileKey>);

#[async_trait]
impl Ledger for Registered {
    async fn never_registered(&self, keys: &[FileKey]) -> Result<Vec<FileKey>, Classified> {
        Ok(keys.iter().filter(|key| !self.0.contains(key)).cloned().collect())
    }
}

#[tokio::test]
async fn sweeps_what_was_never_registered_and_nothing_else() {
    let store = Arc::new(InMemory::new());
    let reservoir = Reservoir::new(source(&store, LAYOUT)).unwrap();
    let key = |number: u32| format!("2018/08/01/1042-000000000003-{number}_{number}.gz");
    for number in 0..2_500 {
        store.put(&Path::from(key(number)), "x".into()).await.unwrap();
    }
    store.put(&Path::from("2018/08/01/readme.txt"), "x".into()).await.unwrap();
    let registered =
        Registered((0..2_500).filter(|number| number % 5 != 0).map(|number| FileKey::new(key(number))).collect());
    let now = Instant::from_micros(chrono_now());
    assert_eq!(sweep(&reservoir, now + Span::from_days(6), &registered).await.unwrap(), Swept::default());
    let swept = sweep(&reservoir, now + Span::from_days(8), &registered).await.unwrap();
    assert_eq!(swept, Swept { old: 2_500, removed: 500 });
    assert_eq!(futures::StreamExt::count(store.list(None)).await, 2_001);
    assert!(store.head(&Path::from(key(5))).await.is_err());
    assert!(store.head(&Path::from(key(6))).await.is_ok());
}
