use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use neartime_ingest::channel::{EventStream, Queue};
use neartime_ingest::key_path::path_of_key;
use neartime_ingest::{
    Column, ColumnKind, Format, InputFile, Layout, Location, ReadError, ReadRequest, Source, SourceSpec, Wanted, verify,
};
use neartime_model::{ChunkWidth, FileKey, FileVersion, SourceName};
use object_store::{Attribute, Attributes, Error, GetRange, ObjectStoreExt, PutMode, UpdateVersion};

use super::*;
use crate::testing::{Fault, connect, faulty, server, unique};

async fn bucket(endpoint: &str) -> S3Store {
    let store = connect(endpoint).await.bucket(&unique("nt-s3"));
    store.client.create_bucket().bucket(&store.bucket).send().await.unwrap();
    store
}

/// The same bucket through a proxy.
async fn through(store: &S3Store, proxy: &str) -> S3Store {
    connect(proxy).await.bucket(&store.bucket)
}

fn path(key: &str) -> Path {
    path_of_key(key)
}

async fn body(store: &S3Store, key: &str) -> Bytes {
    store.get(&path(key)).await.unwrap().bytes().await.unwrap()
}

fn texts(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        all = format!("{all}: {error}");
        source = error.source();
    }
    all
}

#[tokio::test]
async fn puts_and_reads_wholes_and_parts() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "application/gzip"),
        (Attribute::Metadata("generation".into()), "7"),
    ]);
    let options = PutOptions { attributes, ..PutOptions::default() };
    let put = store.put_opts(&path("a/b.gz"), "0123456789".into(), options).await.unwrap();
    let got = store.get(&path("a/b.gz")).await.unwrap();
    assert_eq!((got.meta.size, &got.meta.e_tag), (10, &put.e_tag));
    assert_eq!(got.attributes.get(&Attribute::ContentType).unwrap().as_ref(), "application/gzip");
    assert_eq!(got.attributes.get(&Attribute::Metadata("generation".into())).unwrap().as_ref(), "7");
    assert_eq!(got.bytes().await.unwrap(), "0123456789");
    for (range, expected, bytes) in [
        (GetRange::Bounded(2..5), 2..5, "234"),
        (GetRange::Offset(7), 7..10, "789"),
        (GetRange::Suffix(2), 8..10, "89"),
        (GetRange::Bounded(8..99), 8..10, "89"),
    ] {
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let got = store.get_opts(&path("a/b.gz"), options).await.unwrap();
        assert_eq!((got.range.clone(), got.meta.size), (expected, 10));
        assert_eq!(got.bytes().await.unwrap(), bytes);
    }
    let wrong = GetOptions { if_match: Some("\"other\"".to_owned()), ..GetOptions::default() };
    assert!(matches!(store.get_opts(&path("a/b.gz"), wrong).await, Err(Error::Precondition { .. })));
    let right = GetOptions { if_match: put.e_tag.clone(), ..GetOptions::default() };
    assert_eq!(store.get_opts(&path("a/b.gz"), right).await.unwrap().meta.e_tag, put.e_tag);
    let same = GetOptions { if_none_match: put.e_tag.clone(), ..GetOptions::default() };
    assert!(matches!(store.get_opts(&path("a/b.gz"), same).await, Err(Error::NotModified { .. })));
    assert_eq!(store.head(&path("a/b.gz")).await.unwrap().size, 10);
    store.copy(&path("a/b.gz"), &path("copy of +b.gz")).await.unwrap();
    assert_eq!(body(&store, "copy of +b.gz").await, "0123456789");
    store.delete(&path("a/b.gz")).await.unwrap();
    assert!(matches!(store.head(&path("a/b.gz")).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get(&path("a/b.gz")).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn odd_keys_are_listed_and_opened() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    let keys = [
        "in/a b+c%2B.gz",
        "in/100%.gz",
        "in/été-日本.gz",
        "in/a//b.gz",
        "in//c.gz",
        "in/folder/",
        "in/q?a&b=c#d.gz",
        "in/back\\slash\".gz",
        "in/tab\there.gz",
        "in/x~<y>'&amp;.gz",
        "in/*.gz",
        "in/a:b;c,d@e=f$.gz",
        "in/./dot.gz",
        "in/../up.gz",
    ];
    for key in keys {
        let request = store.client.put_object().bucket(&store.bucket).key(key);
        request.body(key.as_bytes().to_vec().into()).send().await.unwrap();
    }
    let listed: Vec<ObjectMeta> = store.list(Some(&path("in"))).try_collect().await.unwrap();
    let found: BTreeSet<String> = listed.iter().map(|meta| key_of_path(&meta.location).into_owned()).collect();
    assert_eq!(found, keys.map(str::to_owned).into());
    for meta in listed {
        let key = key_of_path(&meta.location).into_owned();
        assert_eq!(store.get(&meta.location).await.unwrap().bytes().await.unwrap(), key);
    }
    let level = store.list_with_delimiter(Some(&path("in"))).await.unwrap();
    let folders: BTreeSet<String> = level.common_prefixes.iter().map(|path| key_of_path(path).into_owned()).collect();
    assert_eq!(folders, ["in/", "in/.", "in/..", "in/a", "in/folder"].map(str::to_owned).into());
    assert_eq!(level.objects.len(), keys.len() - 5);
    let below = store.list_with_delimiter(Some(&path("in/a"))).await.unwrap();
    assert_eq!((below.objects.len(), key_of_path(&below.common_prefixes[0]).as_ref()), (0, "in/a/"));
    let below = store.list_with_delimiter(Some(&path("in/a/"))).await.unwrap();
    assert_eq!(key_of_path(&below.objects[0].location), "in/a//b.gz");
    let after: Vec<ObjectMeta> =
        store.list_with_offset(Some(&path("in")), &path("in/a//b.gz")).try_collect().await.unwrap();
    let expected = keys.iter().filter(|key| **key > "in/a//b.gz").count();
    assert_eq!(after.len(), expected);
}

#[tokio::test]
async fn long_listings_come_page_by_page() {
    let Some(server) = server() else { return };
    let store = S3Store { page_keys: 3, ..bucket(&server).await };
    let keys: Vec<String> = (0..11).map(|index| format!("in/{}/{index:02}.gz", index % 2)).collect();
    for key in &keys {
        store.put(&path(key), "x".into()).await.unwrap();
    }
    store.put(&path("inside.gz"), "x".into()).await.unwrap();
    let listed: Vec<ObjectMeta> = store.list(Some(&path("in"))).try_collect().await.unwrap();
    assert_eq!(listed.len(), 11);
    let after: Vec<ObjectMeta> =
        store.list_with_offset(Some(&path("in")), &path("in/1/03.gz")).try_collect().await.unwrap();
    assert_eq!(after.len(), 3);
    assert_eq!(store.list_with_delimiter(Some(&path("in"))).await.unwrap().common_prefixes.len(), 2);
    assert_eq!(store.list_with_delimiter(None).await.unwrap().objects.len(), 1);
}

#[tokio::test]
async fn conditions_hold() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    let create = || PutOptions::from(PutMode::Create);
    let first = store.put_opts(&path("one"), "1".into(), create()).await.unwrap();
    assert!(matches!(store.put_opts(&path("one"), "2".into(), create()).await, Err(Error::AlreadyExists { .. })));
    // The same bytes are there already: it does not matter who wrote them.
    assert_eq!(store.put_opts(&path("one"), "1".into(), create()).await.unwrap().e_tag, first.e_tag);
    let update = |e_tag: &Option<String>| {
        PutOptions::from(PutMode::Update(UpdateVersion { e_tag: e_tag.clone(), version: None }))
    };
    let second = store.put_opts(&path("one"), "2".into(), update(&first.e_tag)).await.unwrap();
    assert!(matches!(
        store.put_opts(&path("one"), "3".into(), update(&first.e_tag)).await,
        Err(Error::Precondition { .. })
    ));
    assert!(matches!(
        store.put_opts(&path("none"), "3".into(), update(&first.e_tag)).await,
        Err(Error::Precondition { .. })
    ));
    assert_eq!(body(&store, "one").await, "2");
    assert_ne!(first.e_tag, second.e_tag);
}

/// The answer to a put is lost, and the client's own second try is refused because the first was made.
#[tokio::test]
async fn a_put_that_finds_itself_in_place_has_succeeded() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    for fault in [Fault::LoseAnswer, Fault::DoAndAnswer(503, "SlowDown"), Fault::DoAndAnswer(500, "InternalError")] {
        let key = unique("key");
        let proxy = faulty(&server, move |_, number| if number == 0 { fault.clone() } else { Fault::Pass }).await;
        let faulty = through(&store, &proxy).await;
        let put = faulty.put_opts(&path(&key), "mine".into(), PutMode::Create.into()).await.unwrap();
        assert_eq!(store.head(&path(&key)).await.unwrap().e_tag, put.e_tag);
    }
    // Every answer is lost, those to the client's other tries too: only looking tells.
    let proxy = faulty(&server, |line, _| if line.starts_with("PUT") { Fault::LoseAnswer } else { Fault::Pass }).await;
    let put = through(&store, &proxy).await.put_opts(&path("lost"), "mine".into(), PutMode::Create.into()).await;
    assert_eq!(store.head(&path("lost")).await.unwrap().e_tag, put.unwrap().e_tag);
}

/// The server says 409 to a create while nothing is there: another write was under way and did not come to be.
#[tokio::test]
async fn a_conflict_is_no_verdict() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    let conflict = Fault::Answer(409, "ConditionalRequestConflict");
    let proxy = faulty(
        &server,
        move |head, number| {
            if head.starts_with("PUT") && number < 3 { conflict.clone() } else { Fault::Pass }
        },
    );
    let contended = through(&store, &proxy.await).await;
    contended.put_opts(&path("one"), "1".into(), PutMode::Create.into()).await.unwrap();
    assert_eq!(body(&store, "one").await, "1");
    let proxy = faulty(&server, |line, _| match line {
        line if line.starts_with("PUT") => Fault::Answer(409, "ConditionalRequestConflict"),
        _ => Fault::Pass,
    });
    let contended = through(&store, &proxy.await).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"2").unwrap();
    let put = contended.put_file(file.path(), &path("two"), Condition::Absent, &[]).await.unwrap();
    assert_eq!(put, FilePut::Busy);
}

#[tokio::test]
async fn of_many_creators_one_wins() {
    let Some(server) = server() else { return };
    let store = Arc::new(bucket(&server).await);
    let puts = (0..8).map(|number| {
        let store = Arc::clone(&store);
        async move { store.put_opts(&path("one"), format!("{number}").into(), PutMode::Create.into()).await }
    });
    let done = futures::future::join_all(puts).await;
    assert_eq!(done.iter().filter(|put| put.is_ok()).count(), 1);
    assert!(done.iter().all(|put| matches!(put, Ok(_) | Err(Error::AlreadyExists { .. }))));
}

async fn uploads(store: &S3Store) -> usize {
    let uploads = store.client.list_multipart_uploads().bucket(&store.bucket).send().await.unwrap();
    uploads.uploads().len()
}

fn large_file(seed: u64) -> (tempfile::NamedTempFile, Vec<u8>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(17 << 20).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    (file, bytes)
}

#[tokio::test]
async fn large_files_go_in_parts_on_the_same_conditions() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    let (one, one_bytes) = large_file(1);
    let (two, two_bytes) = large_file(2);
    let own = [("generation", "7".to_owned())];
    let put = |file: &tempfile::NamedTempFile, condition| {
        let (store, file) = (store.clone(), file.path().to_owned());
        let own = own.clone();
        async move { store.put_file(&file, &path("large"), condition, &own).await.unwrap() }
    };
    let FilePut::Done { e_tag: Some(first) } = put(&one, Condition::Absent).await else { panic!("it is free") };
    assert_eq!(body(&store, "large").await, one_bytes);
    let got = store.get(&path("large")).await.unwrap();
    assert_eq!(got.attributes.get(&Attribute::Metadata("generation".into())).unwrap().as_ref(), "7");
    assert_eq!(got.meta.e_tag.as_ref(), Some(&first));
    let old = first.clone();
    assert_eq!(put(&two, Condition::Absent).await, FilePut::Changed);
    let FilePut::Done { .. } = put(&two, Condition::Matches(first.clone())).await else { panic!("it is the first") };
    assert_eq!(body(&store, "large").await, two_bytes);
    // The server knows no If-Match on a completion: the proxy refuses in its place, if it was asked.
    let proxy = faulty(&server, move |head, _| {
        let completes = head.starts_with("POST") && head.contains("uploadId=");
        let refused = completes && head.to_lowercase().contains(&format!("if-match: {}", first.to_lowercase()));
        if refused { Fault::Answer(412, "PreconditionFailed") } else { Fault::Pass }
    });
    let refusing = through(&store, &proxy.await).await;
    let put = refusing.put_file(one.path(), &path("large"), Condition::Matches(old), &own).await.unwrap();
    assert_eq!(put, FilePut::Changed);
    assert_eq!(uploads(&store).await, 0, "what was sent in vain is removed");
}

#[tokio::test]
async fn an_upload_whose_completion_is_lost_is_found() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    let (file, bytes) = large_file(3);
    let proxy = faulty(&server, |line, _| {
        let completes = line.starts_with("POST") && line.contains("uploadId=");
        if completes { Fault::LoseAnswer } else { Fault::Pass }
    });
    let lossy = through(&store, &proxy.await).await;
    let put = lossy.put_file(file.path(), &path("large"), Condition::Absent, &[]).await.unwrap();
    assert!(matches!(put, FilePut::Done { .. }));
    assert_eq!(body(&store, "large").await, bytes);
    // A part that cannot be sent ends the upload, and nothing stays behind.
    let proxy = faulty(&server, |line, _| {
        let second = line.starts_with("PUT") && line.contains("partNumber=2");
        if second { Fault::Answer(403, "AccessDenied") } else { Fault::Pass }
    });
    let refused = through(&store, &proxy.await).await;
    let error = refused.put_file(file.path(), &path("other"), Condition::Absent, &[]).await.unwrap_err();
    assert!(texts(&error).contains("s3:PutObject"), "{}", texts(&error));
    assert_eq!(uploads(&store).await, 0);
}

#[tokio::test]
async fn uploads_that_others_feed_are_completed_on_a_condition() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    let upload = |key: &'static str, parts: Vec<Vec<u8>>| {
        let store = store.clone();
        async move {
            let mut options = PutMultipartOptions::default();
            options.extensions.insert(PutMode::Create);
            let mut upload = store.put_multipart_opts(&path(key), options).await.unwrap();
            for part in parts {
                upload.put_part(part.into()).await.unwrap();
            }
            let done = upload.complete().await;
            if done.is_err() {
                upload.abort().await.unwrap();
            }
            done
        }
    };
    upload("parts", vec![vec![1; 5 << 20], vec![2; 10]]).await.unwrap();
    assert_eq!(body(&store, "parts").await.len(), (5 << 20) + 10);
    assert!(matches!(upload("parts", vec![vec![3]]).await, Err(Error::AlreadyExists { .. })));
    upload("empty", Vec::new()).await.unwrap();
    assert_eq!(body(&store, "empty").await.len(), 0);
    assert_eq!(uploads(&store).await, 0);
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let Some(server) = server() else { return };
    let missing = connect(&server).await.bucket(&unique("nt-missing"));
    for error in [
        missing.list(None).try_next().await.unwrap_err(),
        missing.put(&path("x"), "1".into()).await.unwrap_err(),
        missing.get(&path("x")).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Generic { .. }), "{error}");
        assert!(
            texts(&error).contains("does not exist") && texts(&error).contains(&missing.bucket),
            "{}",
            texts(&error)
        );
    }
    for (status, code, expected) in [
        (403, "AccessDenied", "s3:GetObject on arn:aws:s3:::nt-any/a/b is needed"),
        (403, "InvalidAccessKeyId", "credentials are refused"),
        (403, "SignatureDoesNotMatch", "credentials are refused"),
        (400, "ExpiredToken", "credentials are refused"),
        (301, "PermanentRedirect", "another region"),
        (503, "SlowDown", "throttles us"),
        (500, "InternalError", "cannot be reached or is not well"),
    ] {
        let proxy = faulty(&server, move |_, _| Fault::Answer(status, code)).await;
        let error = connect(&proxy).await.bucket("nt-any").get(&path("a/b")).await.unwrap_err();
        assert!(texts(&error).contains(expected), "{}", texts(&error));
        assert!(texts(&error).contains("s3://nt-any/a/b"), "{}", texts(&error));
    }
    let nobody = connect("http://127.0.0.1:9").await.bucket("nt-any").get(&path("a/b")).await.unwrap_err();
    assert!(texts(&nobody).contains("cannot be reached"), "{}", texts(&nobody));
}

/// The reader of raw files takes a transfer up again where it broke, and reads the version that was registered alone.
#[tokio::test(flavor = "multi_thread")]
async fn raw_files_are_read_through_broken_transfers() {
    let Some(server) = server() else { return };
    let store = bucket(&server).await;
    let mut random = fastrand::Rng::with_seed(5);
    let lines: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(300_000).collect();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &lines).unwrap();
    let key = "in/2018/08/01/a b+1042.gz";
    let put = store.put(&path(key), packed.finish().unwrap().into()).await.unwrap();
    let cuts = faulty(&server, |_, number| if number < 3 { Fault::CutAnswer(70_000) } else { Fault::Pass }).await;
    let location =
        Location::bucket(format!("s3://{}/in", store.bucket), Arc::new(through(&store, &cuts).await)).unwrap();
    let layout = Layout::parse("%Y/%m/%d/*%H%M.gz").unwrap();
    let columns = vec![Column::new("id", ColumnKind::String)];
    let spec = SourceSpec::new(SourceName::new("raw").unwrap(), location, layout, Format::Json, columns);
    let source = Arc::new(Source::new(spec).unwrap());
    let chunk = ChunkWidth::TEN_MINUTES.chunk_of("2018-08-01T10:42:00Z".parse().unwrap());
    let request = |version: &str| {
        let (key, version) = (FileKey::new("2018/08/01/a b+1042.gz"), FileVersion::new(version));
        ReadRequest::new(chunk, vec![InputFile { key, version, size: 300_000 }], Wanted::default())
    };
    let version = put.e_tag.unwrap().trim_matches('"').to_owned();
    verify(&source, request(&version)).await.unwrap();
    assert!(matches!(verify(&source, request("other")).await, Err(ReadError::Changed { .. })));
}

/// Runs one test in a process of its own, as the environment is everybody's; gives what it wrote.
fn alone(test: &str, environment: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let ended = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("s3::tests::{test}"), "--nocapture"])
        .env_clear()
        .envs([("NEARTIME_TEST_ALONE", "1"), ("AWS_EC2_METADATA_DISABLED", "true")])
        .envs(environment.iter().copied())
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert!(ended.status.success());
    String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned()
}

fn is_alone() -> bool {
    std::env::var("NEARTIME_TEST_ALONE").is_ok()
}

/// The usual chain with nothing in it.
#[tokio::test]
async fn without_credentials_it_says_what_to_set() {
    if is_alone() {
        let error = connect("http://127.0.0.1:9").await.bucket("nt-any").get(&path("a")).await.unwrap_err();
        return eprintln!("{}", texts(&error));
    }
    let said = alone("without_credentials_it_says_what_to_set", &[]);
    assert!(said.contains("no AWS credentials were found: set AWS_ACCESS_KEY_ID"), "{said}");
}

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    if is_alone() {
        let proxy = faulty("http://127.0.0.1:9", |_, _| Fault::Answer(403, "SignatureDoesNotMatch")).await;
        for endpoint in [proxy.as_str(), "http://127.0.0.1:9"] {
            let aws = connect(endpoint).await;
            let (store, stream) = (aws.bucket("nt-any"), aws.stream("any"));
            let queue = aws.queue(&format!("{endpoint}/0/any")).unwrap();
            eprintln!("{aws:?} {store:?} {store} {queue:?} {stream:?} {:?}", aws.setup());
            eprintln!("{:?}", store.get(&path("a")).await.unwrap_err());
            eprintln!("{:?}", Queue::receive(&queue, std::time::Duration::ZERO).await.unwrap_err());
            eprintln!("{:?}", EventStream::shards(&stream).await.unwrap_err());
        }
        return;
    }
    let secret = "sentinel-of-the-secret-key";
    let keys =
        [("AWS_ACCESS_KEY_ID", "AKIASENTINEL"), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_SESSION_TOKEN", secret)];
    let said = alone("secrets_are_shown_nowhere", &keys);
    assert!(said.contains("SignatureDoesNotMatch") && !said.contains(secret), "{said}");
}
