use std::collections::BTreeSet;
use std::fmt;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use neartime_model::{ChunkWidth, Span};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};

use super::*;
use crate::layout::Layout;
use crate::location::Location;
use crate::source::{Column, Format, SourceSpec};

const SEED: &str = "{brand}/{platform}/%Y/%m/%d/%Y%m-%d-%H%M%S.gz";

/// A bucket in memory that counts what listing it costs, and can refuse a folder.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    requests: AtomicU64,
    objects: AtomicU64,
    refused: Option<&'static str>,
}

impl Counting {
    async fn with(keys: impl IntoIterator<Item = String>) -> Arc<Self> {
        let store = Self::default();
        store.add(keys).await;
        Arc::new(store)
    }

    async fn add(&self, keys: impl IntoIterator<Item = String>) {
        for key in keys {
            self.inner.put(&Path::parse(format!("in/{key}")).unwrap(), "x".into()).await.unwrap();
        }
    }

    fn take_costs(&self) -> (u64, u64) {
        (self.requests.swap(0, Ordering::SeqCst), self.objects.swap(0, Ordering::SeqCst))
    }

    /// A bucket answers with a thousand objects a request.
    fn count(&self, objects: u64) {
        self.objects.fetch_add(objects, Ordering::SeqCst);
    }

    fn counted(&self, listed: Vec<StoreResult<ObjectMeta>>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.count(listed.len() as u64);
        self.requests.fetch_add(listed.len() as u64 / 1_000 + 1, Ordering::SeqCst);
        futures::stream::iter(listed).boxed()
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.inner.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(from, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.counted(futures::executor::block_on(self.inner.list(prefix).collect()))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.counted(futures::executor::block_on(self.inner.list_with_offset(prefix, offset).collect()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let folder = prefix.map_or("", |prefix| prefix.as_ref());
        if self.refused == Some(folder) {
            let path = folder.to_owned();
            return Err(object_store::Error::PermissionDenied { path, source: "refused".into() });
        }
        let listed = self.inner.list_with_delimiter(prefix).await?;
        let entries = listed.objects.len() + listed.common_prefixes.len();
        self.requests.fetch_add(entries as u64 / 1_000 + 1, Ordering::SeqCst);
        self.count(entries as u64);
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn at(text: &str) -> Instant {
    text.parse().unwrap()
}

fn spec(location: Location, layout: &str) -> SourceSpec {
    let columns = vec![Column::new("user", "string".parse().unwrap())];
    let layout = Layout::parse(layout).unwrap();
    let width =
        ChunkWidth::new(layout.finest()).map_or(ChunkWidth::TEN_MINUTES, |finest| finest.max(ChunkWidth::TEN_MINUTES));
    SourceSpec { width, ..SourceSpec::new("events".parse().unwrap(), location, layout, Format::Json, columns) }
}

fn in_bucket(store: &Arc<Counting>, layout: &str) -> Source {
    let store: Arc<dyn ObjectStore> = store.clone();
    Source::new(spec(Location::bucket("s3://raw/in", store).unwrap(), layout)).unwrap()
}

fn in_directory(path: &FsPath, layout: &str) -> Source {
    Source::new(spec(Location::directory("raw", path).unwrap(), layout)).unwrap()
}

fn write(directory: &FsPath, keys: &[String]) {
    for key in keys {
        let path = directory.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
}

async fn walk(source: &Source, scope: Scope<'_>) -> Result<(Vec<Found>, Discovered), DiscoverError> {
    let (sender, mut receiver) = mpsc::channel::<Vec<Found>>(1);
    let receive = async {
        let mut all = Vec::new();
        while let Some(batch) = receiver.recv().await {
            assert!(!batch.is_empty() && batch.len() <= BATCH_FILES);
            all.extend(batch);
        }
        all
    };
    let send = async move { discover(source, scope, &sender).await };
    let (discovered, mut found) = tokio::join!(send, receive);
    found.sort_by(|one, other| one.key.cmp(&other.key));
    Ok((found, discovered?))
}

async fn keys(source: &Source, scope: Scope<'_>) -> BTreeSet<String> {
    walk(source, scope).await.unwrap().0.into_iter().map(|file| file.key.to_string()).collect()
}

/// Keys of `days` days from `first` on, `hours` of each, as `layout` names them.
fn history(layout: &str, captures: &[&str], first: &str, days: i64, hours: i64) -> Vec<String> {
    let layout = Layout::parse(layout).unwrap();
    let times = (0..days).flat_map(|day| (0..hours).map(move |hour| day * 1_440 + hour * 60 + 42));
    times.map(|mins| layout.format_key(captures, at(first) + Span::from_mins(mins), "a").unwrap()).collect()
}

#[tokio::test]
async fn the_seed_has_its_two_rows_for_one_path() {
    let mut files = Vec::new();
    for (brand, platform) in [("olx", "android"), ("olx", "ios"), ("letgo", "android")] {
        for time in ["104234", "105959", "104000"] {
            files.push(format!("{brand}/{platform}/2018/08/01/201808-01-{time}.gz"));
        }
    }
    let store = Counting::with(files).await;
    let (found, discovered) = walk(&in_bucket(&store, SEED), Scope::Everything).await.unwrap();
    assert_eq!(discovered, Discovered { matched: 9, ..Discovered::default() });
    let android: BTreeSet<_> = found
        .iter()
        .filter(|file| file.path.as_str() == "in/olx/android/")
        .map(|file| (file.source_bucket.as_str(), file.chunk.start(), file.chunk.due(Span::from_mins(3))))
        .collect();
    let expected = [
        ("s3://raw", at("2018-08-01T10:40:00Z"), at("2018-08-01T10:53:00Z")),
        ("s3://raw", at("2018-08-01T10:50:00Z"), at("2018-08-01T11:03:00Z")),
    ];
    assert_eq!(android, BTreeSet::from(expected));
    assert!(!found[0].version.as_str().contains('"'));
}

#[tokio::test]
async fn a_pass_costs_what_is_recent() {
    let old = history(SEED, &["olx", "android"], "2015-01-01", 1_200, 24);
    let newest = at("2015-01-01") + Span::from_days(1_199);
    let store = Counting::with(old).await;
    let source = in_bucket(&store, SEED);
    let (found, _) = walk(&source, Scope::Everything).await.unwrap();
    assert_eq!(found.len(), 28_800);
    let (requests, _) = store.take_costs();
    assert!(requests < 100, "everything took {requests} requests");

    let mut seen = Seen::default();
    seen.note(&found);
    let late = "olx/android/2018/04/13/201804-13-000000.gz".to_owned();
    store.add([late.clone(), "olx/ios/2016/02/29/201602-29-000000.gz".to_owned()]).await;
    let (found, discovered) = walk(&source, Scope::Recent { seen: &seen, now: newest }).await.unwrap();
    // Three days of the path that is known, all of the new one.
    assert_eq!(found.len(), 3 * 24 + 2);
    assert_eq!(discovered.outside, 0);
    assert!(found.iter().any(|file| file.key.as_str() == late));
    let (requests, objects) = store.take_costs();
    assert!(requests < 25 && objects < 200, "a pass took {requests} requests for {objects} objects");
}

#[tokio::test]
async fn a_flat_folder_is_listed_from_its_midst() {
    let layout = "log-%Y%m%d-%H%M*.gz";
    let store = Counting::with(history(layout, &[], "2015-01-01", 1_200, 24)).await;
    let source = in_bucket(&store, layout);
    let mut seen = Seen::default();
    seen.note(&walk(&source, Scope::Everything).await.unwrap().0);
    store.take_costs();
    let found = keys(&source, Scope::Recent { seen: &seen, now: at("2020-01-01") }).await;
    assert_eq!(found.len(), 72);
    let (requests, objects) = store.take_costs();
    assert!(requests < 5 && objects < 80, "a pass took {requests} requests for {objects} objects");
}

#[tokio::test]
async fn each_path_has_its_own_newest_day() {
    let mut files = history(SEED, &["olx", "ios"], "2018-08-01", 10, 2);
    files.extend(history(SEED, &["olx", "android"], "2017-08-01", 10, 2));
    let store = Counting::with(files).await;
    let source = in_bucket(&store, SEED);
    let mut seen = Seen::default();
    seen.note(&walk(&source, Scope::Everything).await.unwrap().0);
    assert_eq!(seen.newest_day(&FilePath::new("in/olx/android/")), Some(at("2017-08-10")));
    store
        .add(
            ["olx/android/2017/08/08/201708-08-000000.gz", "olx/ios/2018/08/07/201808-07-235959.gz"].map(str::to_owned),
        )
        .await;
    let found = keys(&source, Scope::Recent { seen: &seen, now: at("2018-08-10T23:00:00Z") }).await;
    assert_eq!(found.len(), 13);
    assert!(found.contains("olx/android/2017/08/08/201708-08-000000.gz"));
    assert!(!found.contains("olx/ios/2018/08/07/201808-07-235959.gz"), "older than the look back");
}

#[tokio::test]
async fn a_name_of_the_future_hides_nothing() {
    let store = Counting::with(history(SEED, &["olx", "ios"], "2018-08-01", 3, 2)).await;
    store.add(["olx/ios/2999/12/31/299912-31-000000.gz".to_owned()]).await;
    let source = in_bucket(&store, SEED);
    let mut seen = Seen::default();
    seen.note(&walk(&source, Scope::Everything).await.unwrap().0);
    let found = keys(&source, Scope::Recent { seen: &seen, now: at("2018-08-03T12:00:00Z") }).await;
    assert_eq!(found.len(), 7);
}

#[tokio::test]
async fn what_does_not_match_is_left_alone_and_counted() {
    let files = [
        "olx/android/2018/08/01/201808-01-104234.gz",
        "olx/android/2018/08/01/readme.txt",
        "olx/android/2018/08/01/deep/er.gz",
        "olx/android/2018/13/01/201813-01-104234.gz",
        "olx/android/2018/08/02/201808-01-104234.gz",
        "olx/notes.txt",
        "archive/a/b/c/d/e/f.gz",
        "top.gz",
        "_temporary/0/x.gz",
        "olx/.staging/2018/08/01/201808-01-104234.gz",
        "olx/android/2018/08/01/_SUCCESS",
        "olx/android/2018/08/01/.201808-01-104234.gz",
    ]
    .map(str::to_owned);
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &files);
    for source in [in_bucket(&Counting::with(files).await, SEED), in_directory(directory.path(), SEED)] {
        let (found, discovered) = walk(&source, Scope::Everything).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((discovered.matched, discovered.unmatched), (1, 7), "{discovered:?}");
        assert_eq!(discovered.unmatched_examples.len(), MAX_EXAMPLES);
    }
}

#[tokio::test]
async fn older_files_than_since_are_not_found() {
    let files = history(SEED, &["olx", "ios"], "2018-07-30", 4, 2);
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &files);
    let location = Location::directory("raw", directory.path()).unwrap();
    let since = Some(at("2018-07-31T01:00:00Z"));
    let source = Source::new(SourceSpec { since, ..spec(location, SEED) }).unwrap();
    let (found, discovered) = walk(&source, Scope::Everything).await.unwrap();
    assert_eq!(found[0].key.as_str(), "olx/ios/2018/07/31/201807-31-014200.gz");
    assert_eq!((found.len(), discovered.unmatched), (5, 0));
}

/// Every layout and range finds exactly what a filter of all keys finds, in a bucket and in a directory.
#[tokio::test]
async fn agrees_with_a_filter_of_all_keys() {
    let layouts = [
        SEED,
        "{x}/y=%Y/m=%m/d=%d/H=%H/*.gz",
        "%Y/%m/%d/%H%M*.gz",
        "%Y%m%d/%H-{host}.gz",
        "*/{x}-%Y-%-m/%-d-%H%M.gz",
        "%m/%Y/log-%d%H*",
        "flat-%Y%m%d%H%M",
        "{x}-{y}/%Y%m%d-%H",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for layout in layouts {
        let parsed = Layout::parse(layout).unwrap();
        let mut files = BTreeSet::new();
        for _ in 0..150 {
            let captures = ["a", "b-c", "d"].map(|capture| if random.bool() { capture } else { "e" });
            let captures = &captures[..parsed.path_captures().len() + parsed.row_captures().len()];
            let time = at("2019-12-25") + Span::from_mins(random.i64(0..15 * 1_440));
            files.extend(parsed.format_key(captures, time, ["s", "t"][random.usize(0..2)]));
        }
        let files: Vec<String> = files.into_iter().collect();
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &files);
        let store = Counting::with(files.iter().cloned()).await;
        let mut seen = Seen::default();
        seen.note(&walk(&in_bucket(&store, layout), Scope::Everything).await.unwrap().0);
        let mut seen_there = Seen::default();
        seen_there.note(&walk(&in_directory(directory.path(), layout), Scope::Everything).await.unwrap().0);
        for _ in 0..5 {
            let from = at("2019-12-24") + Span::from_mins(random.i64(0..16 * 1_440));
            let until = from + Span::from_mins(random.i64(0..4 * 1_440));
            let now = at("2020-01-05T10:00:00Z");
            let within = |key: &str, from: Instant, until: Instant| {
                parsed.match_key(key).is_some_and(|matched| from <= matched.at && matched.at < until)
            };
            for (source, seen) in
                [(in_bucket(&store, layout), &seen), (in_directory(directory.path(), layout), &seen_there)]
            {
                let expected: BTreeSet<String> = files.iter().filter(|key| within(key, from, until)).cloned().collect();
                let found = keys(&source, Scope::Between { from, until }).await;
                assert_eq!(found, expected, "{layout} from {from} until {until}");

                let recent = |key: &&String| {
                    let path = parsed.path_part(&parsed.match_key(key).unwrap().path_captures);
                    let newest = seen.newest_day(&source.location.file_path(&path)).unwrap();
                    within(key, newest.min(at("2020-01-05")) - Span::from_days(2), at("2100-01-01"))
                };
                let expected: BTreeSet<String> = files.iter().filter(recent).cloned().collect();
                assert_eq!(keys(&source, Scope::Recent { seen, now }).await, expected, "{layout}");
            }
        }
        assert_eq!(keys(&in_bucket(&store, layout), Scope::Everything).await.len(), files.len());
    }
}

#[tokio::test]
async fn odd_names_are_found_and_open_again() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["a b+c.gz", "100%.gz", "a%2Bb.gz", "x#y.gz", "été-日本.gz", "q?a&b=c.gz", "back\\slash.gz"];
    let files: Vec<String> = names.iter().map(|name| format!("a b/é+%20/2018/08/01/{name}")).collect();
    write(directory.path(), &files);
    let source = in_directory(directory.path(), "{x}/{y}/%Y/%m/%d/*");
    let (found, _) = walk(&source, Scope::Everything).await.unwrap();
    assert_eq!(found.len(), files.len());
    for file in found {
        assert_eq!(file.path.as_str(), "a b/é+%20/");
        let store = source.location.store();
        let got = store.get(&source.location.object_path(&file.key)).await.unwrap();
        assert_eq!(source.location.version_of(&got.meta), file.version);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_opened_is_a_stray() {
    use std::os::unix::ffi::OsStrExt;

    let directory = tempfile::tempdir().unwrap();
    let day = directory.path().join("2018/08/01");
    write(directory.path(), &["2018/08/01/1042.gz".to_owned(), "2018/08/01/1043\u{1}.gz".to_owned()]);
    std::fs::write(day.join(std::ffi::OsStr::from_bytes(b"1044\xff.gz")), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", day.join("1045.gz")).unwrap();
    std::os::unix::fs::symlink("1046.gz", day.join("1046.gz")).unwrap();
    std::os::unix::fs::symlink("1042.gz", day.join("1047.gz")).unwrap();
    std::os::unix::fs::symlink(directory.path(), day.join("loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(day.join("1048.gz")).unwrap();
    let source = in_directory(directory.path(), "%Y/%m/%d/%H%M*.gz");
    let (found, discovered) = walk(&source, Scope::Everything).await.unwrap();
    let found: Vec<&str> = found.iter().map(|file| file.key.as_str()).collect();
    assert_eq!(found, ["2018/08/01/1042.gz", "2018/08/01/1047.gz"]);
    assert_eq!(discovered.unmatched, 2);
}

#[tokio::test]
async fn a_location_that_is_away_is_unavailable_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let source = in_directory(&home.path().join("raw"), "%Y/%m/%d/%H%M*.gz");
    let error = walk(&source, Scope::Everything).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(neartime_model::chain(&error).contains("there is no such directory: make or mount it"), "{error:?}");
    write(&home.path().join("raw"), &["2018/08/01/1042.gz".to_owned()]);
    assert_eq!(keys(&source, Scope::Everything).await.len(), 1);
}

#[tokio::test]
async fn a_folder_that_refuses_us_does_not_hold_back_the_others() {
    let files = ["olx", "letgo"].map(|brand| format!("{brand}/ios/2018/08/01/201808-01-104234.gz"));
    let inner = Counting::with(files).await;
    let store = Counting { refused: Some("in/letgo"), ..Arc::into_inner(inner).unwrap() };
    let source = in_bucket(&Arc::new(store), SEED);
    let (sender, mut receiver) = mpsc::channel(8);
    let error = discover(&source, Scope::Everything, &sender).await.unwrap_err();
    assert!(error.is_refusal());
    let found = receiver.try_recv().unwrap();
    assert_eq!(found[0].key.as_str(), "olx/ios/2018/08/01/201808-01-104234.gz");
}

#[tokio::test]
async fn ends_when_nobody_listens() {
    let store = Counting::with(history(SEED, &["olx", "ios"], "2018-08-01", 100, 24)).await;
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let source = in_bucket(&store, SEED);
    // On a task of its own, as the scheduler has it.
    let ended = tokio::spawn(async move { discover(&source, Scope::Everything, &sender).await }).await.unwrap();
    assert!(matches!(ended, Err(DiscoverError::Cancelled)));
}
