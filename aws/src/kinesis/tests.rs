use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_kinesis::primitives::Blob;
use bytes::Bytes;
use neartime_ingest::channel::{Page, Place, Record, SequenceNumber};
use neartime_ingest::reservoir::{self, CutLimits, Cutter, Reservoir};
use neartime_ingest::{
    Column, ColumnKind, Format, InputFile, Layout, Location, ReadRequest, Source, SourceSpec, Wanted, verify,
};
use neartime_model::{Classify, ErrorKind, Instant, SourceName};

use super::aggregate::{Aggregate, Packed, Unpacked, frame, pack, unpack};
use super::*;
use crate::testing::{Fault, connect, faulty, server, unique};

async fn stream(server: &str, shards: i32) -> KinesisStream {
    let stream = connect(server).await.stream(&unique("nt-stream"));
    let name = &stream.0.name;
    stream.0.client.create_stream().stream_name(name).shard_count(shards).send().await.unwrap();
    active(&stream).await;
    stream
}

async fn active(stream: &KinesisStream) {
    loop {
        let answer = stream.0.client.describe_stream_summary().stream_name(&stream.0.name).send().await.unwrap();
        if answer.stream_description_summary.unwrap().stream_status.as_str() == "ACTIVE" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn put(stream: &KinesisStream, key: &str, data: impl Into<Vec<u8>>) {
    let request = stream.0.client.put_record().stream_name(&stream.0.name).partition_key(key).data(Blob::new(data));
    request.send().await.unwrap();
}

/// All records of a shard up to its tip or end; gives the last page too.
async fn read_all(reader: &mut Box<dyn ShardReader>) -> (Vec<Record>, Page) {
    let mut all = Vec::new();
    for _ in 0..100 {
        let page = reader.next().await.unwrap();
        all.extend(page.records.clone());
        let at_tip = page.records.is_empty() && page.behind == Some(Span::ZERO);
        if page.children.is_some() || at_tip {
            return (all, page);
        }
    }
    panic!("the shard has no end");
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.data.to_vec()).unwrap()).collect()
}

fn after(record: &Record) -> Position {
    Position::After { place: record.place.clone(), caught_up_at: None }
}

fn aggregate(records: &[(&str, &str)]) -> Aggregate {
    let keys: Vec<String> = records.iter().map(|(key, _)| (*key).to_owned()).collect();
    let packed = records.iter().zip(0..).map(|((_, data), index)| Packed {
        partition_key: index,
        explicit_hash_key: None,
        data: Bytes::copy_from_slice(data.as_bytes()),
    });
    Aggregate { partition_keys: keys, explicit_hash_keys: Vec::new(), records: packed.collect() }
}

#[tokio::test]
async fn reads_on_where_a_checkpoint_stands() {
    let Some(server) = server() else { return };
    let stream = stream(&server, 1).await;
    let shard = stream.shards().await.unwrap().remove(0);
    assert_eq!(shard.parents, []);
    let begun = stream.0.clock.now();
    for number in 0..5 {
        put(&stream, "k", format!("{number}")).await;
    }
    let mut reader = stream.open(&shard.id, &Position::Oldest).await.unwrap();
    let (records, page) = read_all(&mut reader).await;
    assert_eq!(texts(&records), ["0", "1", "2", "3", "4"]);
    assert!(records.is_sorted_by(|one, other| one.place < other.place));
    assert!(records.iter().all(|record| begun - Span::from_mins(1) < record.arrived_at));
    assert_eq!((page.end, page.gap), (None, None));
    assert!(page.caught_up_at.unwrap() >= begun);
    put(&stream, "k", "5").await;
    assert_eq!(texts(&read_all(&mut reader).await.0), ["5"]);
    let mut again = stream.open(&shard.id, &after(&records[2])).await.unwrap();
    let (rest, page) = read_all(&mut again).await;
    assert_eq!((texts(&rest), page.gap), (vec!["3".to_owned(), "4".to_owned(), "5".to_owned()], None));
    let answer = stream.0.client.describe_stream_summary().stream_name(&stream.0.name).send().await.unwrap();
    let by_arn = connect(&server).await.stream(&answer.stream_description_summary.unwrap().stream_arn);
    assert_eq!(by_arn.shards().await.unwrap(), stream.shards().await.unwrap());
    assert_eq!(by_arn.retention().await.unwrap(), Span::from_days(1));
    let mut again = by_arn.open(&shard.id, &Position::Oldest).await.unwrap();
    assert_eq!(read_all(&mut again).await.0.len(), 6);
    let mut newest = stream.open(&shard.id, &Position::Newest).await.unwrap();
    put(&stream, "k", "6").await;
    assert!(texts(&read_all(&mut newest).await.0).ends_with(&["6".to_owned()]));
}

#[tokio::test]
async fn aggregates_are_taken_apart_and_gone_on_within() {
    let Some(server) = server() else { return };
    let stream = stream(&server, 1).await;
    let shard = stream.shards().await.unwrap().remove(0);
    put(&stream, "k", "plain").await;
    put(&stream, "k", pack(&aggregate(&[("a", "0"), ("b", "1"), ("c", "2")]))).await;
    let mut torn = pack(&aggregate(&[("a", "never")]));
    *torn.last_mut().unwrap() ^= 1;
    put(&stream, "k", torn.clone()).await;
    put(&stream, "k", pack(&aggregate(&[]))).await;
    let mut reader = stream.open(&shard.id, &Position::Oldest).await.unwrap();
    let page = loop {
        let page = reader.next().await.unwrap();
        if page.end.is_some() {
            break page;
        }
    };
    let data: Vec<&[u8]> = page.records.iter().map(|record| &record.data[..]).collect();
    assert_eq!(data, [&b"plain"[..], b"0", b"1", b"2", &torn]);
    let subs: Vec<_> = page.records.iter().map(|record| record.place.sub_sequence).collect();
    assert_eq!(subs, [None, Some(0), Some(1), Some(2), None]);
    assert!(page.end.unwrap() > page.records[4].place, "the empty aggregate is behind us too");
    let mut again = stream.open(&shard.id, &after(&page.records[2])).await.unwrap();
    let (rest, _) = read_all(&mut again).await;
    assert_eq!(rest, page.records[3..]);
}

/// Every record is read once, and no child before its parents, across a split and a merge. (The server goes on to give
/// records to closed parents, so that children stay empty here; what counts is that parents end.)
#[tokio::test]
async fn children_follow_their_parents() {
    let Some(server) = server() else { return };
    let stream = stream(&server, 1).await;
    let client = &stream.0.client;
    let first = stream.shards().await.unwrap().remove(0);
    let mut sent = 0;
    let mut send = async |stream: &KinesisStream| {
        for _ in 0..20 {
            put(stream, &format!("key {sent}"), format!("{sent}")).await;
            sent += 1;
        }
    };
    send(&stream).await;
    let middle = (u128::MAX / 2).to_string();
    let split = client.split_shard().stream_name(&stream.0.name).shard_to_split(first.id.as_str());
    split.new_starting_hash_key(middle).send().await.unwrap();
    active(&stream).await;
    send(&stream).await;
    let halves: Vec<Shard> = stream.shards().await.unwrap().into_iter().filter(|shard| shard.id != first.id).collect();
    assert_eq!(halves.len(), 2);
    assert!(halves.iter().all(|half| half.parents == [first.id.clone()]));
    let merge = client.merge_shards().stream_name(&stream.0.name).shard_to_merge(halves[0].id.as_str());
    merge.adjacent_shard_to_merge(halves[1].id.as_str()).send().await.unwrap();
    active(&stream).await;
    send(&stream).await;

    let shards = stream.shards().await.unwrap();
    assert_eq!(shards.len(), 4);
    let (mut finished, mut seen) = (HashSet::new(), BTreeMap::new());
    while finished.len() < shards.len() {
        let ready = shards.iter().find(|shard| {
            !finished.contains(&shard.id) && shard.parents.iter().all(|parent| finished.contains(parent))
        });
        let shard = ready.expect("some shard's parents are finished");
        let mut reader = stream.open(&shard.id, &Position::Oldest).await.unwrap();
        let (records, page) = read_all(&mut reader).await;
        for text in texts(&records) {
            *seen.entry(text.parse::<u32>().unwrap()).or_insert(0) += 1;
        }
        if shard.parents.len() < 2 {
            let children = page.children.expect("it was split or merged");
            assert!(children.iter().all(|child| child.parents.contains(&shard.id)), "{children:?}");
            assert!(reader.next().await.unwrap().children.is_some(), "its end stays its end");
        }
        finished.insert(shard.id.clone());
    }
    assert_eq!(seen, (0..60).map(|number| (number, 1)).collect());
}

/// The last page of a closed shard has no next iterator and names the children.
#[tokio::test]
async fn a_shard_ends_with_its_children() {
    let Some(server) = server() else { return };
    let stream = stream(&server, 1).await;
    let shard = stream.shards().await.unwrap().remove(0);
    let last = r#"{"Records":[{"SequenceNumber":"7","Data":"eA==","PartitionKey":"k"}],"MillisBehindLatest":0,"ChildShards":[
        {"ShardId":"shardId-000000000001","ParentShards":["shardId-000000000000"],
         "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]}"#;
    let proxy =
        faulty(
            &server,
            move |head, _| {
                if head.to_lowercase().contains("getrecords") { Fault::Say(last) } else { Fault::Pass }
            },
        );
    let ending = connect(&proxy.await).await.stream(&stream.0.name);
    let mut reader = ending.open(&shard.id, &Position::Oldest).await.unwrap();
    let child = Shard { id: ShardId::new("shardId-000000000001"), parents: vec![shard.id.clone()] };
    let page = reader.next().await.unwrap();
    assert_eq!((texts(&page.records), page.children), (vec!["x".to_owned()], Some(vec![child.clone()])));
    let page = reader.next().await.unwrap();
    assert_eq!((texts(&page.records), page.children), (Vec::new(), Some(vec![child])));
}

/// An iterator that is refused as too old is made anew after the last record read, not at the start.
#[tokio::test]
async fn expired_iterators_are_renewed_where_reading_stands() {
    let Some(server) = server() else { return };
    let stream = stream(&server, 1).await;
    let shard = stream.shards().await.unwrap().remove(0);
    put(&stream, "k", "0").await;
    let reads = AtomicUsize::new(0);
    let proxy = faulty(&server, move |head, _| {
        let reading = head.to_lowercase().contains("getrecords");
        let expired = reading && reads.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        if expired { Fault::Answer(400, "ExpiredIteratorException") } else { Fault::Pass }
    });
    let expiring = connect(&proxy.await).await.stream(&stream.0.name);
    let mut reader = expiring.open(&shard.id, &Position::Oldest).await.unwrap();
    let mut all = Vec::new();
    for number in 1..4 {
        all.extend(texts(&read_all(&mut reader).await.0));
        put(&stream, "k", format!("{number}")).await;
    }
    assert_eq!(all, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_reader_that_was_throttled_goes_on() {
    let Some(server) = server() else { return };
    let stream = stream(&server, 1).await;
    let shard = stream.shards().await.unwrap().remove(0);
    put(&stream, "k", "0").await;
    let reads = AtomicUsize::new(0);
    let proxy = faulty(&server, move |head, _| {
        let reading = head.to_lowercase().contains("getrecords");
        // As often as the client tries by itself.
        let refused = reading && reads.fetch_add(1, Ordering::SeqCst) < 5;
        if refused { Fault::Answer(400, "ProvisionedThroughputExceededException") } else { Fault::Pass }
    });
    let throttled = connect(&proxy.await).await.stream(&stream.0.name);
    let mut reader = throttled.open(&shard.id, &Position::Oldest).await.unwrap();
    let error = reader.next().await.unwrap_err();
    assert!(matches!(error, ChannelError::Throttled { .. }) && error.kind() == ErrorKind::Unavailable, "{error}");
    assert_eq!(texts(&read_all(&mut reader).await.0), ["0"]);
}

#[tokio::test]
async fn a_checkpoint_that_has_left_the_stream_is_a_gap_unless_all_was_read() {
    let Some(server) = server() else { return };
    let stream = stream(&server, 1).await;
    let shard = stream.shards().await.unwrap().remove(0);
    put(&stream, "k", "0").await;
    let mut reader = stream.open(&shard.id, &Position::Oldest).await.unwrap();
    let first = read_all(&mut reader).await.0.remove(0);
    // A number before the first record stands for one whose record was trimmed.
    let place = Place { sequence: SequenceNumber::parse("0").unwrap(), sub_sequence: None };
    let now = stream.0.clock.now();
    let open = async |caught_up_at: Option<Instant>| {
        let from = Position::After { place: place.clone(), caught_up_at };
        let mut reader = stream.open(&shard.id, &from).await.unwrap();
        let page = reader.next().await.unwrap();
        assert_eq!(texts(&page.records), ["0"]);
        assert_eq!(reader.next().await.unwrap().gap, None, "it is told once");
        page.gap
    };
    let long_ago = now - Span::from_days(2);
    let gap = open(Some(long_ago)).await.expect("the stream keeps a day");
    assert_eq!((gap.after, gap.after_at), (place.clone(), Some(long_ago)));
    assert_eq!((gap.until, gap.until_at), (Some(first.place.clone()), first.arrived_at));
    assert!(open(None).await.is_some());
    // Where the server refuses the number altogether, nothing can be proven.
    let lately = open(Some(now - Span::from_mins(60))).await;
    assert_eq!(lately.is_some(), refuses(&stream, &shard.id).await);
}

/// Whether the server answers a number that it never gave with an error.
async fn refuses(stream: &KinesisStream, shard: &ShardId) -> bool {
    let request = stream.0.client.get_shard_iterator().stream_name(&stream.0.name).shard_id(shard.as_str());
    let kind = aws_sdk_kinesis::types::ShardIteratorType::AtSequenceNumber;
    request.shard_iterator_type(kind).starting_sequence_number("0").send().await.is_err()
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let Some(server) = server() else { return };
    let missing = connect(&server).await.stream(&unique("nt-none"));
    let error = missing.shards().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("there is no stream"), "{error}");
    assert!(missing.retention().await.unwrap_err().to_string().contains("there is no stream"));
    let stream = stream(&server, 1).await;
    assert_eq!(stream.retention().await.unwrap(), Span::from_days(1));
    let error = stream.open(&ShardId::new("shardId-000000000099"), &Position::Oldest).await.unwrap_err();
    assert!(error.to_string().contains("not there any more"), "{error}");
    let proxy = faulty(&server, |_, _| Fault::Answer(400, "AccessDeniedException")).await;
    let error = connect(&proxy).await.stream("any").shards().await.unwrap_err();
    assert!(error.to_string().contains("kinesis:ListShards"), "{error}");
}

/// Records become raw files of a bucket. A worker that dies after it has put some and before it wrote its checkpoint
/// leaves files that the next one finds in place.
#[tokio::test]
async fn records_become_raw_files_once() {
    let Some(server) = server() else { return };
    let stream = stream(&server, 1).await;
    let shard = stream.shards().await.unwrap().remove(0);
    for number in 0..30 {
        put(&stream, "k", format!("{{\"id\":{number}}}")).await;
    }
    let bucket = connect(&server).await.bucket(&unique("nt-reservoir"));
    bucket.client().create_bucket().bucket(bucket.bucket_name()).send().await.unwrap();
    let location = Location::bucket(format!("s3://{}/in", bucket.bucket_name()), Arc::new(bucket)).unwrap();
    let layout = Layout::parse("%Y/%m/%d/%H%M-{shard}-{sequence}.gz").unwrap();
    let columns = vec![Column::new("id", ColumnKind::Int)];
    let spec = SourceSpec::new(SourceName::new("events").unwrap(), location, layout, Format::Json, columns);
    let reservoir = Reservoir::new(Arc::new(Source::new(spec).unwrap())).unwrap();
    let now = stream.0.clock.now();
    let read_and_put = async || {
        let mut reader = stream.open(&shard.id, &Position::Oldest).await.unwrap();
        let (records, _) = read_all(&mut reader).await;
        let mut cutter = Cutter::new(reservoir.clone(), shard.id.clone(), CutLimits::of(reservoir.source()));
        let (mut files, begun) = (Vec::new(), std::time::Instant::now());
        for (number, record) in records.iter().enumerate() {
            files.extend(cutter.add(record, begun).unwrap());
            if number % 10 == 9 {
                files.extend(cutter.flush().unwrap());
            }
        }
        let mut found = Vec::new();
        for file in files {
            found.push(reservoir::put(&reservoir, &file, now).await.unwrap());
        }
        found
    };
    let first = read_and_put().await;
    assert_eq!(read_and_put().await, first, "the same files, found in place");
    assert_eq!(first.iter().map(|file| &file.version).collect::<HashSet<_>>().len(), first.len());
    for file in &first {
        let input = InputFile { key: file.key.clone(), version: file.version.clone(), size: file.size };
        let request = ReadRequest::new(file.chunk, vec![input], Wanted::default());
        verify(reservoir.source(), request).await.unwrap();
    }
}

#[test]
fn records_of_another_shard_are_left_out() {
    let range = |first: &str, last: &str| {
        let range = aws_sdk_kinesis::types::HashKeyRange::builder().starting_hash_key(first).ending_hash_key(last);
        HashRange::of(&range.build().unwrap()).unwrap()
    };
    // MD5("a") is 0cc1…, MD5("b") is 92eb….
    let mut aggregate = aggregate(&[("a", "0"), ("b", "1"), ("a", "2")]);
    aggregate.explicit_hash_keys = vec![u128::MAX.to_string()];
    aggregate.records[2].explicit_hash_key = Some(0);
    let data = Bytes::from(pack(&aggregate));
    let of = |range: HashRange| match unpack(data.clone(), &range) {
        Unpacked::Many(records) => records.into_iter().map(|(index, _)| index).collect::<Vec<_>>(),
        Unpacked::Plain(_) => panic!("it is an aggregate"),
    };
    let middle = u128::MAX / 2;
    assert_eq!(of(range("0", &middle.to_string())), [0]);
    assert_eq!(of(range(&(middle + 1).to_string(), &u128::MAX.to_string())), [1, 2]);
    assert_eq!(of(HashRange::ALL), [0, 1, 2]);
}

/// Whatever begins with the magic and is no aggregate comes out as it went in.
#[test]
fn what_is_no_aggregate_stays_as_it_is() {
    let whole = pack(&aggregate(&[("a", "some data"), ("b", "other data")]));
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        match random.u8(0..3) {
            0 => bytes.truncate(random.usize(..bytes.len())),
            1 => {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u8(..8);
            }
            _ => bytes.push(random.u8(..)),
        }
        match unpack(Bytes::from(bytes.clone()), &HashRange::ALL) {
            Unpacked::Plain(same) => assert_eq!(same, bytes),
            Unpacked::Many(_) => panic!("{bytes:?} was taken apart"),
        }
    }
}

/// What fuzzing kept: messages without their frame. How many records are in them, if they are aggregates.
#[test]
fn what_fuzzing_kept_is_taken_apart() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/aggregates");
    for (name, records) in [
        ("two_keys", Some(3)),
        ("explicit_hashes", Some(3)),
        ("indices_beyond_the_keys", Some(3)),
        ("hash_that_is_no_number", Some(2)),
        ("key_that_is_no_utf8", None),
        ("records_before_keys", Some(1)),
        ("unknown_fields", Some(1)),
        ("empty", Some(0)),
        ("cut", None),
        ("no_data", Some(1)),
    ] {
        let data = frame(&std::fs::read(format!("{folder}/{name}")).unwrap());
        let found = match unpack(Bytes::from(data), &HashRange::ALL) {
            Unpacked::Many(records) => Some(records.len()),
            Unpacked::Plain(_) => None,
        };
        assert_eq!(found, records, "{name}");
    }
    for file in std::fs::read_dir(folder).unwrap() {
        let data = Bytes::from(frame(&std::fs::read(file.unwrap().path()).unwrap()));
        match unpack(data.clone(), &HashRange::ALL) {
            Unpacked::Plain(same) => assert_eq!(same, data),
            Unpacked::Many(records) => {
                assert!(records.iter().map(|(_, record)| record.len()).sum::<usize>() < data.len())
            }
        }
    }
}
