//! Four workers on one Postgres while processes die and freeze, servers crash, requests fail and files come late; in the
//! end every byte is the same as if one process had done it all in peace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;
use neartime_tests::configs::{EMBEDDED, users, users_features};
use neartime_tests::proxy::FaultProxy;
use neartime_tests::reservoir::{gzip, put};
use neartime_tests::servers::{Fleet, OwnServers, Servers, Stage};
use neartime_tests::site::{Site, rows_of_parquet};

use super::end_to_end::tasks;

use crate::BINARY;

const WORKERS: usize = 4;
const LEASE: Duration = Duration::from_secs(10);
/// … or when nothing has moved for so long.
const STANDSTILL: Duration = Duration::from_secs(30);
const FAILING_PER_THOUSAND: u32 = 50;

/// How much of it: the short form runs with every change, the long one with `make test-faults`.
struct Form {
    chunks: u32,
    /// A worker is killed after so many completed claims, however fast the machine is …
    kill_after: u64,
    pauses: u32,
    postgres_crashes: u32,
    cassandra_outage: Option<Duration>,
    /// All must be at rest so long after the last fault.
    rest_within: Duration,
}

const SHORT: Form = Form {
    chunks: 150,
    kill_after: 6,
    pauses: 1,
    postgres_crashes: 1,
    cassandra_outage: None,
    rest_within: Duration::from_secs(400),
};
const LONG: Form = Form {
    chunks: 2_000,
    kill_after: 20,
    pauses: 4,
    postgres_crashes: 2,
    cassandra_outage: Some(Duration::from_secs(30)),
    rest_within: Duration::from_secs(900),
};

/// A raw file to come: its key and its lines.
type RawFile = (String, String);

#[test]
fn killed_paused_and_refused_workers_leave_what_one_would_have_left() {
    let Some(mut servers) = Servers::at_hand() else { return };
    let form = if Servers::long_forms() { LONG } else { SHORT };
    let seed = std::env::var("NEARTIME_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    eprintln!("NEARTIME_TEST_SEED={seed}");
    let own = own_servers(&form, &mut servers);
    let proxy = FaultProxy::start(servers.aws.server().parse().unwrap(), seed).unwrap();
    let stage = Stage::on(servers, "faults");
    let site = stage.site(BINARY, &config(&stage, &proxy)).with_variable("AWS_ENDPOINT_URL", &proxy.url());
    let (first, late) = files(form.chunks, &mut Rng::with_seed(seed));

    let mut fleet = Fleet::start(&site, WORKERS);
    for (key, lines) in &first {
        stage.put_raw(key, gzip(lines));
    }
    proxy.fail(FAILING_PER_THOUSAND);
    let mut chaos =
        Chaos { form: &form, stage: &stage, own: &own, fleet: &mut fleet, rng: Rng::with_seed(seed), kills: 0 };
    let mut late_files = late.iter();
    chaos.reign(|| {
        for (key, lines) in late_files.by_ref().take(1 + form.chunks as usize / 60) {
            stage.put_raw(key, gzip(lines));
        }
        late_files.len() == 0 && done(&stage) * 10 >= u64::from(form.chunks) * 9
    });
    let kills = chaos.kills;
    proxy.fail(0);
    let calm_since = Instant::now();
    let all = (first.len() + late.len()) as u64;
    while registered(&stage) < all || done(&stage) < u64::from(form.chunks) {
        assert!(calm_since.elapsed() < form.rest_within, "{} of {} done\n{}", done(&stage), form.chunks, fleet.logs());
        fleet.supervise();
        std::thread::sleep(Duration::from_millis(500));
    }
    eprintln!("{kills} kills, {:?}, at rest after {:?}", proxy.tally(), calm_since.elapsed());
    let logs = fleet.logs();
    fleet.terminate();
    assert!(!logs.contains("panicked"), "a worker panicked:\n{logs}");
    assert!(!logs.contains("neartime:neartime@"), "a log shows a password");

    let oracle = oracle(first.iter().chain(&late));
    assert_eq!(tasks(&site), tasks(&oracle), "chunks, states and generations");
    assert_same_files(&oracle, &stage);
    assert_same_online_rows(&oracle, &stage);
    let parked = site.rows(["tasks", "list", "--state", "parked"]);
    assert!(parked.is_empty(), "{parked:?}");
}

/// A Postgres to crash; in the long form a Cassandra to stop, too.
fn own_servers(form: &Form, servers: &mut Servers) -> OwnServers {
    let names: &[&str] = if form.cassandra_outage.is_some() { &["postgres", "cassandra"] } else { &["postgres"] };
    let own = OwnServers::start(15470, names);
    let environment = own.environment();
    servers.postgres = environment["NEARTIME_TEST_POSTGRES"].clone();
    if let Some(cassandra) = environment.get("NEARTIME_TEST_CASSANDRA") {
        servers.cassandra = cassandra.clone();
    }
    own
}

fn config(stage: &Stage, proxy: &FaultProxy) -> String {
    let queue = stage.queue("raw/").replace(&stage.aws().url(), &proxy.url());
    let channel = format!("discover = [\"list\", \"sqs\"]\nsqs = {{ queue = \"{queue}\" }}");
    let events =
        users("events", &channel).replace("location = \"raw\"", &format!("location = \"s3://{}/raw\"", stage.bucket()));
    let stores = stage.stores().replace(&stage.aws().url(), &proxy.url()).replace("workers = 2", "workers = 1");
    stores + &events + &users_features("events")
}

/// A first file for every chunk, and late files for some, in no order.
fn files(chunks: u32, rng: &mut Rng) -> (Vec<RawFile>, Vec<RawFile>) {
    let mut first = Vec::new();
    let mut late = Vec::new();
    for chunk in 0..chunks {
        first.push(file(chunk, 0, rng));
        for number in 1..=rng.u32(..3) {
            late.push(file(chunk, number, rng));
        }
    }
    rng.shuffle(&mut late);
    (first, late)
}

fn file(chunk: u32, number: u32, rng: &mut Rng) -> RawFile {
    let (day, hour, minute) = (1 + chunk / 144, chunk / 6 % 24, chunk % 6 * 10);
    let mut lines = String::new();
    for _ in 0..rng.u32(1..60) {
        let (user, item, amount, second) = (rng.u32(..200), rng.u32(..5), rng.u32(..100), rng.u32(..60));
        let time = format!("2024-01-{day:02}T{hour:02}:{:02}:{second:02}Z", minute + rng.u32(..10));
        lines += &format!("{{\"user\":\"u{user}\",\"item\":\"i{item}\",\"amount\":{amount},\"time\":\"{time}\"}}\n");
    }
    (format!("2024/01/{day:02}/{hour:02}{minute:02}00-{number}.gz"), lines)
}

/// Tasks whose every file is in what was published last.
fn done(stage: &Stage) -> u64 {
    let count = "select count(*)::text from tasks where state = 'done' and generation = done_generation";
    stage.try_postgres(count).and_then(|rows| rows.first()?.parse().ok()).unwrap_or_default()
}

/// Files that were discovered so far.
fn registered(stage: &Stage) -> u64 {
    let count = "select count(*)::text from files";
    stage.try_postgres(count).and_then(|rows| rows.first()?.parse().ok()).unwrap_or_default()
}

/// The number of the last claim that was completed.
fn completed(stage: &Stage) -> u64 {
    let number = "select max(completion)::text from tasks";
    stage.try_postgres(number).and_then(|rows| rows.first()?.parse().ok()).unwrap_or_default()
}

struct Chaos<'c, 's> {
    form: &'c Form,
    stage: &'c Stage,
    own: &'c OwnServers,
    fleet: &'c mut Fleet<'s>,
    rng: Rng,
    kills: u32,
}

impl Chaos<'_, '_> {
    /// Kills, freezes and crashes until everything planned has happened and `enough` says so.
    fn reign(&mut self, mut enough: impl FnMut() -> bool) {
        let mut planned: Vec<fn(&mut Self)> = Vec::new();
        planned.extend((0..self.form.pauses).map(|_| Self::freeze as fn(&mut Self)));
        planned.extend((0..self.form.postgres_crashes).map(|_| Self::crash_postgres as fn(&mut Self)));
        planned.extend(self.form.cassandra_outage.map(|_| Self::stop_cassandra as fn(&mut Self)));
        self.rng.shuffle(&mut planned);
        let mut is_enough = false;
        while !(is_enough && planned.is_empty()) {
            self.let_them_work();
            let worker = self.rng.usize(..WORKERS);
            self.fleet.kill(worker);
            self.kills += 1;
            if self.kills.is_multiple_of(2)
                && let Some(fault) = planned.pop()
            {
                fault(self);
            }
            is_enough = enough();
        }
    }

    fn let_them_work(&self) {
        let (begin, before) = (Instant::now(), completed(self.stage));
        let all_done = || done(self.stage) == u64::from(self.form.chunks);
        while completed(self.stage) < before + self.form.kill_after && begin.elapsed() < STANDSTILL && !all_done() {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A worker sleeps past its lease, in the middle of whatever it did, and wakes up as if nothing had been.
    fn freeze(&mut self) {
        let worker = self.rng.usize(..WORKERS);
        self.fleet.pause(worker);
        std::thread::sleep(LEASE + LEASE / 2);
        self.fleet.resume(worker);
    }

    fn crash_postgres(&mut self) {
        self.own.crash_and_restart("postgres");
    }

    fn stop_cassandra(&mut self) {
        self.own.stop("cassandra");
        std::thread::sleep(self.form.cassandra_outage.unwrap_or_default());
        self.own.start_again("cassandra");
    }
}

/// One process, one run, on the same files in a directory.
fn oracle<'f>(files: impl Iterator<Item = &'f RawFile>) -> Site {
    let site = Site::new(BINARY, &format!("{EMBEDDED}{}{}", users("events", ""), users_features("events")));
    for (key, lines) in files {
        put(&site.path().join("raw"), key, gzip(lines));
    }
    site.run_once(0);
    site
}

fn assert_same_files(oracle: &Site, stage: &Stage) {
    let ours = oracle.parquet_files();
    let theirs = stage.parquet_files();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let ours: BTreeMap<String, Vec<u8>> = ours.into_iter().map(|(name, bytes)| (path(&name), bytes)).collect();
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let different: Vec<_> = ours
        .iter()
        .filter(|(path, bytes)| rows_of_parquet(&theirs[*path]) != rows_of_parquet(bytes))
        .map(|(path, _)| path)
        .collect();
    assert!(different.is_empty(), "other bytes in {} files: {different:?}", different.len());
    let strays: Vec<String> = stage.aws().keys(&stage.bucket(), "features/");
    assert_eq!(strays.len(), theirs.len(), "nothing but published files: {strays:?}");
}

/// Cassandra's rows against the oracle's Parquet files, value by value.
fn assert_same_online_rows(oracle: &Site, stage: &Stage) {
    for (feature, columns, grouped) in [
        ("counted", &["id", "data_chunk", "actions_count"][..], false),
        ("summed", &["id", "data_chunk", "amount"], false),
        ("members", &["id", "data_chunk", "item"], false),
        ("latest", &["id", "last_action_timestamp"], true),
    ] {
        let (list, group) = match grouped {
            true => ("id, max(last_action_timestamp) as last_action_timestamp".to_owned(), "group by id"),
            false => (columns.join(", "), ""),
        };
        let expected = oracle.json(["sql", &format!("select {list} from features_store.{feature} {group}")]);
        let rows = |rows: Vec<serde_json::Value>| -> BTreeSet<Vec<String>> {
            rows.iter().map(|row| columns.iter().map(|column| plain(&row[*column])).collect()).collect()
        };
        let (expected, found) = (rows(expected), rows(stage.online_rows(feature)));
        let missing: Vec<_> = expected.difference(&found).take(5).collect();
        let extra: Vec<_> = found.difference(&expected).take(5).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{feature}: missing {missing:?}, extra {extra:?}");
        assert!(!expected.is_empty(), "{feature} has no rows");
    }
}

/// A value as text; of an instant its digits down to the minute, however it is written.
fn plain(value: &serde_json::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.starts_with("2024-") { text.chars().filter(char::is_ascii_digit).take(12).collect() } else { text }
}
