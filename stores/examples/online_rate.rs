//! How fast the Cassandra store writes and answers, beside a bare loop over the driver on the same table in the same
//! run: `cargo run --release -p neartime-stores --features cassandra --example online_rate -- [ROWS] [ROUNDS]`.
//!
//! `NEARTIME_TEST_CASSANDRA`, `_USER` and `_PASSWORD` tell where the server is. It makes the keyspace
//! `neartime_bench` and drops it at the end.

#![expect(clippy::print_stdout, reason = "its figures are its output")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use neartime_engine::{Aggregate, Count, FeatureTable, OnlineLayout, OutputColumn, OutputSchema, Role};
use neartime_model::{
    ChunkWidth, FeatureName, FeatureVersion, Fence, FilePath, OutputName, SourceName, Span, SystemClock,
};
use neartime_stores::{CassandraOnlineStore, CassandraOptions, OnlineStore, PartitionFile, lookup};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::response::PagingState;
use scylla::response::query_result::QueryResult;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;
use tokio::time::MissedTickBehavior;

const KEYSPACE: &str = "neartime_bench";
/// Statements that the bare loop has in flight; the store has a bound of its own.
const BARE_IN_FLIGHT: usize = 512;
/// Rows of a page, many more than an answer has.
const PAGE_ROWS: i32 = 2_000;
/// What a daemon at work writes, and how often.
const WORK_ROWS: usize = 200;
const WORK_EVERY: Duration = Duration::from_millis(50);
/// Rows handed to the store at once, as a publish does.
const BATCH_ROWS: usize = 16 * 1024;
const FIRST_CHUNK: &str = "2018-08-01T10:40:00Z";
/// Chunks in which each entity has a row, when lookups are measured.
const CHUNKS: i64 = 24;
const LOOKUPS: usize = 3_000;
const LOOKUPS_EVERY: Duration = Duration::from_millis(2);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(Ok(200_000), |rows| rows.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let options = options()?;
    let bare = bare_session(&options).await?;
    let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    bare.query_unpaged(format!("CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {replication}"), ())
        .await?;
    let store = CassandraOnlineStore::connect(&options, Arc::new(SystemClock)).await?;
    let table = Arc::new(table());
    store.ensure(&table).await?;
    let peers = Peers { bare, store, table };
    peers.compare_writes(rows, rounds).await?;
    peers.compare_lookups(rounds).await?;
    peers.bare.query_unpaged(format!("DROP KEYSPACE {KEYSPACE}"), ()).await?;
    Ok(())
}

struct Peers {
    bare: Session,
    store: CassandraOnlineStore,
    table: Arc<FeatureTable>,
}

impl Peers {
    /// The same rows both ways, in turns; the first turn of each warms up.
    async fn compare_writes(&self, rows: usize, rounds: usize) -> Outcome<()> {
        let ids: Vec<String> = (0..rows).map(|row| format!("user-{row:09}")).collect();
        let file = self.file(0);
        let cql = format!(
            "INSERT INTO {KEYSPACE}.user_num_posts (id, data_chunk, file_path, country, actions_count) \
             VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
        );
        let mut insert = self.bare.prepare(cql).await?;
        insert.set_is_idempotent(true);
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let fence = 1_533_120_000_000_000 + i64::try_from(round)?;
            let started = Instant::now();
            self.write_bare(&insert, &ids, &file, fence).await?;
            bare.push(rate(rows, started));
            let started = Instant::now();
            for ids in ids.chunks(BATCH_ROWS) {
                self.store.write(&file, Fence(fence), self.batch(ids)?).await?;
            }
            ours.push(rate(rows, started));
        }
        let (bare, ours) = (median(&mut bare[1..]), median(&mut ours[1..]));
        println!("writes: bare {bare:.0} rows/s, neartime {ours:.0} rows/s, {:.2} of bare", ours / bare);
        Ok(())
    }

    async fn write_bare(
        &self,
        insert: &PreparedStatement,
        ids: &[String],
        file: &PartitionFile,
        fence: i64,
    ) -> Outcome<()> {
        let chunk = CqlTimestamp(file.chunk.start().as_millis());
        let path = file.file_path.as_str();
        let writes = ids.iter().map(|id| self.bare.execute_unpaged(insert, (id, chunk, path, "gh", 1_i64, fence)));
        futures::stream::iter(writes).buffer_unordered(BARE_IN_FLIGHT).try_for_each(async |_| Ok(())).await?;
        Ok(())
    }

    /// Lookups while nothing else happens, and while a daemon with connections of its own writes about half of what the
    /// server can take here: where it can take no more, the wait for its queue is all that there is to see.
    async fn compare_lookups(&self, rounds: usize) -> Outcome<()> {
        self.time_lookups("idle", LOOKUPS * rounds).await?;
        tokio::select! {
            written = self.write_for_ever() => written,
            timed = self.time_lookups("at work", LOOKUPS / 5 * rounds) => timed,
        }
    }

    async fn write_for_ever(&self) -> Outcome<()> {
        let daemon = CassandraOnlineStore::connect(&options()?, Arc::new(SystemClock)).await?;
        let ids: Vec<String> = (0..WORK_ROWS).map(|row| format!("writer-{row:09}")).collect();
        let mut ticks = tokio::time::interval(WORK_EVERY);
        for fence in 1.. {
            ticks.tick().await;
            daemon.write(&self.file(0), Fence(fence), self.batch(&ids)?).await?;
        }
        Ok(())
    }

    /// Lookups at a fixed rate, in turn by the bare driver, by it with pages, and by the store.
    async fn time_lookups(&self, when: &str, lookups: usize) -> Outcome<()> {
        let ids: Vec<String> = (0..1_000).map(|row| format!("reader-{row:09}")).collect();
        for chunk in 0..CHUNKS {
            self.store.write(&self.file(chunk), Fence(1), self.batch(&ids)?).await?;
        }
        let engine = Count::by(["id", "country"]);
        let cql = format!("SELECT id, country, actions_count FROM {KEYSPACE}.user_num_posts WHERE id = ?");
        let mut select = self.bare.prepare(cql).await?;
        select.set_is_idempotent(true);
        // As the driver asks unless it is told otherwise: page by page.
        let mut paged = select.clone();
        paged.set_page_size(PAGE_ROWS);
        let mut found: [Vec<f64>; 3] = Default::default();
        let mut ticks = tokio::time::interval(LOOKUPS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in 0..lookups {
            ticks.tick().await;
            let id = &ids[turn * 7 % ids.len()];
            let started = Instant::now();
            let sum = match turn % 3 {
                0 => sum(self.bare.execute_unpaged(&select, (id,)).await?)?,
                1 => sum(self.bare.execute_single_page(&paged, (id,), PagingState::start()).await?.0)?,
                _ => sum_of(&lookup(&self.store, &self.table, &engine, id, None).await?),
            };
            found[turn % 3].push(started.elapsed().as_secs_f64() * 1e3);
            assert_eq!(sum, CHUNKS);
        }
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let [bare, paged, ours] = found.each_mut().map(|millis| quantile(millis, part));
            println!(
                "lookups, {when}: {name} bare {bare:.3} ms, bare with paging {paged:.3} ms, neartime {ours:.3} ms, {:.2} and {:.2} of bare",
                ours / bare,
                ours / paged
            );
        }
        Ok(())
    }

    fn file(&self, chunk: i64) -> PartitionFile {
        let at = FIRST_CHUNK.parse::<neartime_model::Instant>().expect("a constant instant");
        PartitionFile {
            table: Arc::clone(&self.table),
            chunk: self.table.width.chunk_of(at + Span::from_mins(10 * chunk)),
            stem: "horizontals".to_owned(),
            file_path: FilePath::new("in/horizontals/olx/android/"),
        }
    }

    fn batch(&self, ids: &[String]) -> Outcome<RecordBatch> {
        let countries: StringArray = ids.iter().map(|_| Some("gh")).collect();
        let counts: Int64Array = ids.iter().map(|_| Some(1)).collect();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from_iter_values(ids)), Arc::new(countries), Arc::new(counts)];
        Ok(RecordBatch::try_new(self.table.output.arrow(), columns)?)
    }
}

/// The sum of the counts of an answer.
fn sum(answer: QueryResult) -> Outcome<i64> {
    let rows = answer.into_rows_result()?;
    Ok(rows.rows::<(&str, &str, i64)>()?.map(|row| row.map(|row| row.2)).sum::<Result<_, _>>()?)
}

fn sum_of(folded: &RecordBatch) -> i64 {
    let counts = folded.column_by_name("actions_count").expect("the table has it").as_primitive::<Int64Type>();
    counts.values().iter().sum()
}

fn options() -> Outcome<CassandraOptions> {
    let url =
        std::env::var("NEARTIME_TEST_CASSANDRA").map_err(|_| "set NEARTIME_TEST_CASSANDRA=cassandra://host:port")?;
    Ok(CassandraOptions {
        contact_points: vec![url.trim_start_matches("cassandra://").to_owned()],
        keyspace: KEYSPACE.to_owned(),
        username: std::env::var("NEARTIME_TEST_CASSANDRA_USER").ok(),
        password: std::env::var("NEARTIME_TEST_CASSANDRA_PASSWORD").ok(),
        datacenter: None,
        tls: false,
    })
}

async fn bare_session(options: &CassandraOptions) -> Outcome<Session> {
    let profile = ExecutionProfile::builder().consistency(Consistency::LocalQuorum).build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.contact_points)
        .default_execution_profile_handle(profile.into_handle());
    if let (Some(username), Some(password)) = (&options.username, &options.password) {
        builder = builder.user(username, password);
    }
    Ok(builder.build().await?)
}

fn table() -> FeatureTable {
    let column = |name: &str, data_type, role| OutputColumn {
        name: OutputName::new(name).expect("a constant name"),
        data_type,
        role,
    };
    FeatureTable {
        name: FeatureName::new("user_num_posts").expect("a constant name"),
        version: FeatureVersion(1),
        engine: "count",
        source: SourceName::new("horizontals").expect("a constant name"),
        width: ChunkWidth::TEN_MINUTES,
        output: OutputSchema::new(vec![
            column("id", DataType::Utf8, Role::Entity),
            column("country", DataType::Utf8, Role::Key),
            column("actions_count", DataType::Int64, Role::Value(Aggregate::Sum)),
        ]),
        online: OnlineLayout::PerChunk,
        retention: None,
        ratios: Vec::new(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(rows: usize, started: Instant) -> f64 {
    rows as f64 / started.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place")]
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}
