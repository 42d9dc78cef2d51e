//! Kinesis both ways, while shards split and merge and a worker dies: nothing is lost, nothing is there twice.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use neartime_tests::configs::{users, users_features};
use neartime_tests::reservoir::gzip;
use neartime_tests::servers::{Fleet, Stage};
use neartime_tests::site::Site;

use super::end_to_end::wait_until;
use crate::BINARY;

fn config(stage: &Stage, carries: &str, source: &str) -> String {
    let stream = format!("kinesis = {{ stream = \"{}\", carries = \"{carries}\" }}", stage.bucket());
    let source = users("events", &format!("discover = [\"kinesis\"]\n{stream}\n{source}"))
        .replace("location = \"raw\"", &format!("location = \"s3://{}/raw\"", stage.bucket()));
    stage.stores() + &source + &users_features("events")
}

/// How many events of each user are published.
fn counted(site: &Site) -> BTreeMap<String, i64> {
    let rows = site.json(["sql", "select id, sum(actions_count) as n from features_store.counted group by 1"]);
    rows.iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row["n"].as_i64().unwrap())).collect()
}

/// A stream that counts what it was given.
struct Producer<'s> {
    stage: &'s Stage,
    sent: BTreeMap<String, i64>,
}

impl Producer<'_> {
    fn send(&mut self, events: u32) {
        let now = std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
        let now = String::from_utf8(now).unwrap();
        for _ in 0..events {
            let number: i64 = self.sent.values().sum();
            let user = format!("u{}", number % 7);
            let event = format!("{{\"user\":\"{user}\",\"item\":\"i\",\"amount\":1,\"time\":\"{}\"}}", now.trim());
            self.stage.aws().put_record(&self.stage.bucket(), &number.to_string(), &BASE64_STANDARD.encode(event));
            *self.sent.entry(user).or_default() += 1;
        }
    }
}

#[test]
fn events_are_neither_lost_nor_doubled() {
    let Some(stage) = Stage::at_hand("events") else { return };
    let stream = stage.bucket();
    stage.aws().create_stream(&stream, 1);
    let config = config(&stage, "events", "due = \"landing\"").replace("%H%M%S*.gz", "%H%M%S-{shard}-{sequence}.gz");
    let site = stage.site(BINARY, &config);
    let mut producer = Producer { stage: &stage, sent: BTreeMap::new() };

    producer.send(60);
    site.run_once(0);
    assert_eq!(counted(&site), producer.sent, "before any change of shards");
    let mut fleet = Fleet::start(&site, 2);
    stage.aws().split_shard(&stream);
    producer.send(60);
    std::thread::sleep(Duration::from_secs(8));
    fleet.kill(0);
    stage.aws().merge_shards(&stream);
    producer.send(60);
    std::thread::sleep(Duration::from_secs(8));
    // Without a clean end: what they held unwritten is read again, when their leases have run out.
    fleet.kill(0);
    fleet.kill(1);
    producer.send(60);
    wait_until("the last record being read", 300, || {
        std::thread::sleep(Duration::from_secs(2));
        counted(&site) == producer.sent
    });
    fleet.terminate();
    assert_eq!(site.sql("select count(*) from raw.events"), [[producer.sent.values().sum::<i64>().to_string()]]);
    let online: i64 = stage.online_rows("counted").iter().map(|row| row["actions_count"].as_i64().unwrap()).sum();
    assert_eq!(online, producer.sent.values().sum::<i64>());
}

/// Listing begins two days before the newest day that it has seen: of the older files only the stream can tell.
#[test]
fn keys_tell_of_files_that_listing_does_not_look_for() {
    let Some(stage) = Stage::at_hand("keys") else { return };
    let stream = stage.bucket();
    stage.aws().create_stream(&stream, 2);
    let site = stage.site(BINARY, &config(&stage, "keys", ""));
    let put = |day: u32, name: &str| {
        let line =
            format!("{{\"user\":\"u{day}\",\"item\":\"i\",\"amount\":1,\"time\":\"2024-02-{day:02}T10:01:00Z\"}}");
        stage.put_raw(&format!("2024/02/{day:02}/1000{name}.gz"), gzip(line));
    };
    put(20, "00");
    let fleet = Fleet::start(&site, 2);
    wait_until("the newest day being listed", 180, || counted(&site).contains_key("u20"));
    stage.aws().split_shard(&stream);
    for day in 1..=10 {
        put(day, "00+ é");
        let key = format!("raw/2024/02/{day:02}/100000+ é.gz");
        let record = if day % 2 == 0 { format!("s3://{}/{key}", stage.bucket()) } else { key };
        stage.aws().put_record(&stream, &day.to_string(), &BASE64_STANDARD.encode(record));
    }
    wait_until("the files that the stream told of", 240, || counted(&site).len() == 11);
    assert!(counted(&site).values().all(|count| *count == 1));
    fleet.terminate();
}
