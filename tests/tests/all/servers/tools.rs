//! What the other tests lean on does what they think it does.

use neartime_tests::proxy::FaultProxy;
use neartime_tests::servers::aws::Aws;
use neartime_tests::servers::{Servers, Stage};

#[test]
fn a_stage_is_made_and_removed() {
    let Some(stage) = Stage::at_hand("stage") else { return };
    let name = stage.name().to_owned();
    stage.postgres_do("create table seen (id text); insert into seen values ('ann')");
    assert_eq!(stage.postgres("select id from seen"), ["ann"]);
    stage.cql("create table ks.seen (id text primary key, n int)");
    stage.cql("insert into ks.seen (id, n) values ('ann', 3)");
    assert_eq!(stage.online_rows("seen"), [serde_json::json!({"id": "ann", "n": 3})]);
    let queue = stage.queue("raw/");
    stage.put_raw("a b+c%2B/é&1.gz", "bytes");
    assert_eq!(stage.aws().keys(&stage.bucket(), "raw/"), ["raw/a b+c%2B/é&1.gz"]);
    assert_eq!(stage.aws().objects(&stage.bucket(), "raw/")["a b+c%2B/é&1.gz"], b"bytes");
    assert!(stage.aws().messages(&queue) >= 1, "the notification is in the queue");
    drop(stage);
    let other = Stage::at_hand("other").unwrap();
    let databases = format!("select datname::text from pg_database where datname = '{name}'");
    assert!(other.postgres(&databases).is_empty());
}

#[test]
fn shards_split_and_merge() {
    let Some(servers) = Servers::at_hand() else { return };
    let stream = format!("tools-{}", std::process::id());
    servers.aws.create_stream(&stream, 1);
    servers.aws.put_record(&stream, "key", "e30=");
    servers.aws.split_shard(&stream);
    assert_eq!(servers.aws.open_shards(&stream).len(), 2);
    servers.aws.merge_shards(&stream);
    assert_eq!(servers.aws.open_shards(&stream).len(), 1);
}

#[test]
fn the_proxy_passes_refuses_and_loses() {
    let Some(stage) = Stage::at_hand("proxy") else { return };
    let proxy = FaultProxy::start(stage.aws().server().parse().unwrap(), 7).unwrap();
    let through = Aws::new(&proxy.url());
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    through.put(&stage.bucket(), "large", &large);
    assert_eq!(through.get(&stage.bucket(), "large"), large);
    assert_eq!((proxy.tally().passed, proxy.tally().refused), (2, 0));
    proxy.fail(1_000);
    for attempt in 0..30 {
        let put = || through.put(&stage.bucket(), &format!("fails/{attempt:02}"), "x");
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(put)).is_err());
    }
    let tally = proxy.tally();
    assert!(tally.refused > 3 && tally.lost_replies > 3 && tally.cut > 3, "{tally:?}");
    let arrived = stage.aws().keys(&stage.bucket(), "fails/").len() as u64;
    assert_eq!(arrived, tally.lost_replies + tally.cut, "what is refused never arrives, what is lost or cut does");
}
