use neartime_model::SourceName;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::layout::Layout;
use crate::location::Location;
use crate::source::{Column, ColumnKind, Format, Source, SourceSpec};

fn object(bucket: Option<&str>, key: &str) -> ObjectNotice {
    ObjectNotice { bucket: bucket.map(str::to_owned), key: key.to_owned(), etag: None, size_bytes: None }
}

fn s3_record(key: &str) -> Value {
    json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {
        "bucket": {"name": "raw", "arn": "arn:aws:s3:::raw"},
        "object": {"key": key, "size": 1_024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055"}}})
}

fn in_sns(message: &Value) -> Value {
    json!({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": message.to_string()})
}

/// Encodes like S3: a form, slashes as they are.
fn form_encoded(key: &str) -> String {
    let byte = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'/' | b'-' | b'_' | b'.' | b'*' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    key.bytes().map(byte).collect()
}

#[test]
fn reads_a_notification_in_every_envelope() {
    let plain = json!({"Records": [s3_record("in/a+b%2Bc%C3%A9.gz"), s3_record("in%2Fsecond.gz")]});
    for body in [plain.clone(), in_sns(&plain), in_sns(&in_sns(&plain))] {
        let notice = notice_of_message(&body.to_string());
        assert!(notice.is_understood());
        let keys: Vec<_> = notice.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["in/a b+cé.gz", "in/second.gz"]);
        assert_eq!(notice.objects[0].bucket.as_deref(), Some("raw"));
        assert_eq!(notice.objects[0].etag.as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e"));
        assert_eq!(notice.objects[0].size_bytes, Some(1_024));
    }
}

#[test]
fn reads_an_event_of_event_bridge_whose_key_is_plain() {
    let event = |kind: &str| {
        json!({"version": "0", "source": "aws.s3", "detail-type": kind, "detail": {"version": "0", "reason": "PutObject",
            "bucket": {"name": "raw"}, "object": {"key": "in/a+b%2B.gz", "size": 5, "etag": "\"b1946\"", "version-id": "x"}}})
    };
    let notice = notice_of_message(&event("Object Created").to_string());
    let expected =
        ObjectNotice { etag: Some("b1946".to_owned()), size_bytes: Some(5), ..object(Some("raw"), "in/a+b%2B.gz") };
    assert_eq!(notice, Notice { objects: vec![expected], ..Notice::default() });
    let deleted = notice_of_message(&in_sns(&event("Object Deleted")).to_string());
    assert_eq!(deleted, Notice { ignored: 1, ..Notice::default() });
}

#[test]
fn takes_the_test_message_and_deletes_for_understood() {
    let test =
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z", "Bucket": "raw"});
    assert_eq!(notice_of_message(&test.to_string()), Notice { ignored: 1, ..Notice::default() });
    let mut deleted = s3_record("gone.gz");
    deleted["eventName"] = json!("ObjectRemoved:Delete");
    let notice = notice_of_message(&json!({"Records": [deleted, s3_record("in/a.gz")]}).to_string());
    assert_eq!((notice.objects.len(), notice.ignored, notice.is_understood()), (1, 1, true));
}

#[test]
fn one_bad_record_hides_no_other() {
    let records =
        [s3_record("in/a.gz"), json!({"eventName": "ObjectCreated:Put"}), s3_record("%FF"), s3_record("in/b.gz")];
    let notice = notice_of_message(&json!({"Records": records}).to_string());
    assert_eq!((notice.objects.len(), notice.unparseable.len()), (2, 2));
    assert!(!notice.is_understood());
}

#[test]
fn what_is_no_notification_is_left_over_with_a_reason() {
    let deep = (0..6).fold(json!({"Records": []}), |inner, _| in_sns(&inner));
    for (body, reason) in [
        ("", "no JSON"),
        ("hello", "no JSON"),
        ("{}", "no notification"),
        ("[]", "no notification"),
        (r#"{"Type":"Notification","Message":"x"}"#, "SNS message is no JSON"),
        (
            r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":""}}}]}"#,
            "empty",
        ),
        (&deep.to_string(), "envelopes"),
    ] {
        let notice = notice_of_message(body);
        assert!(notice.objects.is_empty() && notice.unparseable.len() == 1, "{body}");
        assert!(notice.unparseable[0].to_string().contains(reason), "{}", notice.unparseable[0]);
    }
}

#[test]
fn reads_records_of_keys() {
    let raw = |key: &str| object(Some("raw"), key);
    let own = |key: &str| object(None, key);
    let full = ObjectNotice { etag: Some("e".to_owned()), size_bytes: Some(3), ..raw("in/a.gz") };
    for (record, expected) in [
        ("s3://raw/in/a.gz", vec![raw("in/a.gz")]),
        ("in/a.gz\r\n\n  in/b+%2B.gz\n", vec![own("in/a.gz"), own("in/b+%2B.gz")]),
        (r#""s3a://raw/in/a.gz""#, vec![raw("in/a.gz")]),
        (r#"["in/a.gz", {"bucket": "raw", "key": "in/b.gz"}]"#, vec![own("in/a.gz"), raw("in/b.gz")]),
        (r#"{"key": "in/a.gz"}"#, vec![own("in/a.gz")]),
        (r#"{"key": "s3://raw/in/a.gz", "etag": "\"e\"", "size": 3}"#, vec![full.clone()]),
        (r#"{"bucket":"raw","key":"in/a.gz","etag":"e","size":3}"#, vec![full.clone()]),
        ("{\"key\":\"in/a.gz\"}\n{\"key\":\"in/b.gz\"}", vec![own("in/a.gz"), own("in/b.gz")]),
        ("", vec![]),
        ("\u{feff} \n", vec![]),
    ] {
        assert_eq!(keys_of_record(record.as_bytes()), Notice { objects: expected, ..Notice::default() }, "{record}");
    }
    let notification = json!({"Records": [s3_record("in/a+b.gz")]});
    for record in [notification.clone(), in_sns(&notification), s3_record("in/a+b.gz")] {
        assert_eq!(keys_of_record(record.to_string().as_bytes()).objects[0].key, "in/a b.gz");
    }
    for record in [&b"\xff\xfe"[..], b"{", b"[1]", br#"{"key":1}"#, br#"{"path":"x"}"#, b"s3://raw", b"s3:///x"] {
        let notice = keys_of_record(record);
        assert!(notice.objects.is_empty() && !notice.is_understood(), "{}", String::from_utf8_lossy(record));
    }
}

proptest! {
    #[test]
    fn every_key_survives_the_form(key in "\\PC{1,40}|[ -~]{1,40}") {
        let notice = notice_of_message(&json!({"Records": [s3_record(&form_encoded(&key))]}).to_string());
        prop_assert_eq!(&notice.objects[0].key, &key);
        let slashes = form_encoded(&key).replace('/', "%2F");
        prop_assert_eq!(form_decoded(&slashes), Some(key));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC*") {
        notice_of_message(&text);
        keys_of_record(text.as_bytes());
        form_decoded(&text);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
        keys_of_record(&bytes);
    }

    #[test]
    fn places_are_read_as_written_and_ordered(one: (u64, Option<u64>), other: (u64, Option<u64>)) {
        let of = |(sequence, sub): (u64, Option<u64>)| Place {
            sequence: SequenceNumber::parse(&format!("4959{sequence}")).unwrap(), sub_sequence: sub };
        prop_assert_eq!(of(one).to_string().parse::<Place>(), Ok(of(one)));
        if one.0 == other.0 {
            let rank = |sub: Option<u64>| sub.map_or(u128::MAX, u128::from);
            prop_assert_eq!(of(one).cmp(&of(other)), rank(one.1).cmp(&rank(other.1)));
        }
    }
}

/// Damages a valid message in many ways: whatever comes out, no parser panics, and no object has an empty key.
#[test]
fn damaged_messages_are_survived() {
    let whole = in_sns(&json!({"Records": [s3_record("in/a+b%2Bc%C3%A9.gz"), s3_record("in/b.gz")]})).to_string();
    let mut random = fastrand::Rng::with_seed(24);
    for _ in 0..20_000 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..bytes.len());
            match random.u8(0..3) {
                0 => bytes[at] = random.u8(..),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(8)),
            }
        }
        let notice = notice_of_message(&String::from_utf8_lossy(&bytes));
        let keys = keys_of_record(&bytes);
        assert!(notice.objects.iter().chain(&keys.objects).all(|object| !object.key.is_empty()));
    }
}

/// What the fuzzer starts from, and what it found, by name.
#[test]
fn the_corpus_is_read() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/messages");
    let told = |name: &str| {
        let bytes = std::fs::read(format!("{corpus}/{name}")).unwrap();
        let as_message = std::str::from_utf8(&bytes).map(notice_of_message).unwrap_or_default();
        let count = |notice: Notice| (notice.objects.len(), notice.ignored, notice.unparseable.len());
        (count(as_message), count(keys_of_record(&bytes)))
    };
    assert_eq!(told("notification"), ((1, 0, 0), (1, 0, 0)));
    assert_eq!(told("in_sns"), ((0, 1, 0), (0, 1, 0)));
    assert_eq!(told("event_bridge"), ((1, 0, 0), (1, 0, 0)));
    assert_eq!(told("test_event"), ((0, 1, 0), (0, 1, 0)));
    assert_eq!(told("text"), ((0, 0, 1), (2, 0, 0)));
    assert_eq!(told("keys"), ((0, 0, 1), (3, 0, 0)));
    for file in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let message = notice_of_message(&String::from_utf8_lossy(&bytes));
        let objects = [message.objects, keys_of_record(&bytes).objects].concat();
        assert!(objects.iter().all(|object| !object.key.is_empty()), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn sequence_numbers_are_numbers() {
    let number = |text| SequenceNumber::parse(text).unwrap();
    assert!(number("9") < number("10"));
    assert_eq!(number("007"), number("7"));
    assert_eq!(number("000").as_str(), "0");
    for text in ["", "-1", "1a", "١", &"1".repeat(129)] {
        assert_eq!(SequenceNumber::parse(text), None);
    }
    for text in ["", ":", "1:", "1:x", "1:-1", "x:1"] {
        assert!(text.parse::<Place>().is_err(), "{text}");
    }
}

fn source(location: &str, store: &std::sync::Arc<InMemory>, layout: &str) -> Source {
    let store: std::sync::Arc<dyn ObjectStore> = store.clone();
    let location = Location::bucket(location, store).unwrap();
    let columns = vec![Column::new("id", ColumnKind::String)];
    let name = SourceName::new("horizontals").unwrap();
    let spec = SourceSpec::new(name, location, Layout::parse(layout).unwrap(), Format::Json, columns);
    Source::new(SourceSpec { since: Some("2018-08-01".parse().unwrap()), ..spec }).unwrap()
}

#[tokio::test]
async fn only_objects_where_a_source_looks_become_files() {
    let store = std::sync::Arc::new(InMemory::new());
    let key = "in/olx/2018/08/01/1042.gz";
    store.put(&object_store::path::Path::parse(key).unwrap(), "12345".into()).await.unwrap();
    let olx = source("s3://raw/in", &store, "{brand}/%Y/%m/%d/%H%M.gz");
    let other = source("s3://raw/out", &store, "%Y/%m/%d/%H%M.gz");
    let told = ObjectNotice {
        etag: Some("e1".to_owned()),
        size_bytes: Some(9),
        ..object(Some("raw"), "out/2018/08/01/1042.gz")
    };
    let objects = [
        object(Some("raw"), key),
        object(None, key),
        told,
        object(Some("raw"), "in/olx/2018/08/01/1043.gz"),
        object(Some("evil"), key),
        object(Some("raw"), "inside/olx/2018/08/01/1042.gz"),
        object(Some("raw"), "in/olx/2017/08/01/1042.gz"),
        object(Some("raw"), "in/readme.txt"),
        object(Some("raw"), "in/.olx/2018/08/01/1042.gz"),
    ];
    let announced = announced(&[&olx, &other], &objects).await.unwrap();
    assert_eq!((announced.unwanted, announced.elsewhere, announced.gone), (3, 2, 1));
    let [of_olx, of_other] = &announced.files[..] else { panic!("two sources") };
    assert_eq!((of_olx.len(), of_other.len()), (2, 1));
    let listed = store.head(&object_store::path::Path::parse(key).unwrap()).await.unwrap();
    assert_eq!((of_olx[0].size, &of_olx[0].version), (5, &olx.location.version_of(&listed)));
    assert_eq!(of_olx[0], of_olx[1]);
    assert_eq!(of_olx[0].path.as_str(), "in/olx/");
    assert_eq!(of_olx[0].key.as_str(), "olx/2018/08/01/1042.gz");
    assert_eq!(of_olx[0].chunk.start(), "2018-08-01T10:40:00Z".parse().unwrap());
    assert_eq!((of_other[0].size, of_other[0].version.as_str()), (9, "e1"));
}
