//! Broken files: told by name, all of them by one read.

use std::sync::atomic::Ordering;

use super::transfers::Counting;
use super::*;

/// The keys of those of `files` that are broken still.
async fn verified(raw: &Raw, files: &[InputFile]) -> Vec<String> {
    let source = Arc::new(Source::new(raw.spec.clone()).unwrap());
    let request = ReadRequest { files: files.to_vec(), ..raw.request(&source) };
    match verify(&source, request).await {
        Ok(()) => Vec::new(),
        Err(ReadError::Broken { files }) => files.into_keys().map(|key| key.to_string()).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn broken_files_fail_the_read_by_name() {
    let good = gzip("{\"a\":1}\n".repeat(50_000).as_bytes());
    let mut crc = good.clone();
    let at = crc.len() - 6;
    crc[at] ^= 0xff;
    let broken = [good[..good.len() / 2].to_vec(), crc, [&good[..], b"trailing garbage"].concat(), good[..5].to_vec()];
    for bytes in broken {
        for threads in [1, 4] {
            let raw = Raw::json(&[("a", "int")]).put("olx/2018/08/01/1040-good.gz", good.clone()).await;
            let mut raw = raw.put(KEY, bytes.clone()).await;
            raw.threads = threads;
            match raw.read().await {
                Err(ReadError::Broken { files }) => {
                    let (key, reason) = files.first_key_value().unwrap();
                    assert!(files.len() == 1 && key.as_str() == KEY && reason.contains("gzip"), "{files:?}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(verified(&raw, &raw.files[1..]).await, [KEY]);
            assert_eq!(verified(&raw, &raw.files[..1]).await, [""; 0]);
        }
    }
}

/// Twelve files of which every third is broken, each in another way, and the keys of the broken ones.
async fn every_third_broken(store: &Arc<Counting>) -> (Raw, Vec<String>) {
    let mut raw = Raw::json(&[("a", "int")]);
    raw.spec.location = crate::Location::bucket("s3://raw", Arc::<Counting>::clone(store)).unwrap();
    let mut broken = Vec::new();
    for number in 0..12_usize {
        let key = FileKey::new(format!("olx/2018/08/01/10{}-{number}.gz", 40 + number % 10));
        let mut bytes = gzip("{\"a\":1}\n".repeat(1_000 + number).as_bytes());
        if number % 3 == 1 {
            broken.push(key.to_string());
            match number {
                1 => bytes.truncate(20),
                4 => bytes.extend(b"garbage"),
                _ => *bytes.last_mut().unwrap() ^= 1,
            }
        }
        let size = bytes.len() as u64;
        let path = raw.spec.location.object_path(&key);
        store.put(&path, bytes.into()).await.unwrap();
        let version = raw.spec.location.version_of(&store.head(&path).await.unwrap());
        raw.files.push(InputFile { key, version, size });
    }
    broken.sort();
    (raw, broken)
}

#[tokio::test]
async fn one_read_finds_all_broken_files() {
    for (threads, unique) in [(1, false), (3, false), (16, false), (3, true)] {
        let store = Arc::new(Counting::default());
        let (mut raw, broken) = every_third_broken(&store).await;
        raw.threads = threads;
        raw.spec.unique = unique.then(|| "a".to_owned());
        let found = match raw.read().await {
            Err(ReadError::Broken { files }) => files.into_keys().map(|key| key.to_string()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, broken, "{threads} threads");
        assert_eq!(store.transfers.load(Ordering::SeqCst), 12, "each file is fetched once");
        assert_eq!(verified(&raw, &raw.files).await, broken);
        assert_eq!(store.transfers.load(Ordering::SeqCst), 24);
    }
}

#[tokio::test]
async fn another_mishap_goes_before_broken_files() {
    let store = Arc::new(Counting::default());
    let (mut raw, _) = every_third_broken(&store).await;
    for threads in [1, 4] {
        raw.threads = threads;
        let sound = raw.files[11].version.clone();
        raw.files[11].version = FileVersion::new("old");
        assert!(matches!(raw.read().await, Err(ReadError::Changed { .. })));
        raw.files[11].version = sound;
    }
}

#[tokio::test]
async fn a_header_without_any_column_breaks_its_file() {
    let format = Format::Delimited(Delimited::new(",", "\"", Header::FirstLine).unwrap());
    let raw = Raw::new(format, &[("a", ColumnKind::Int)]).text("x,y\n1,2\n").await;
    assert!(matches!(raw.read().await, Err(ReadError::Broken { .. })));
    assert_eq!(verified(&raw, &raw.files).await, [KEY], "nor is it sound when it is read for nobody");
}
