//! Measures what a claim costs on Postgres while sixteen claim at once, with few and with many finished tasks.
//!
//! `NEARTIME_TEST_POSTGRES=postgres://… cargo run --release -p neartime-tasks-db --features postgres --example claims`
//!
//! Takes the numbers of finished tasks as arguments (default: 10000 10000000). Each has a schema of its own, which goes at
//! the end. They are measured in turn, in several rounds, because a machine's speed drifts; a table is printed, and how
//! far the first line and the last are apart.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for developers")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use neartime_model::{
    ChunkWidth, FeatureName, FeatureVersion, FileKey, FilePath, FileVersion, Instant, SourceName, Span, SystemClock,
};
use neartime_tasks_db::{
    ClaimRequest, Claims as _, DueRule, FeatureDeclaration, FileRegistration, Intake as _, Look as _, PostgresOptions,
    Registration, RunEnd, RunOutcome, SourceDeclaration, Tasks, TasksDb as _, WorkerSource,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const CLAIMERS: usize = 16;
const PATHS: usize = 40;
const ROUNDS: usize = 6;

/// Due tasks of a round.
const DUE: usize = 2_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = std::env::var("NEARTIME_TEST_POSTGRES").map_err(|_| "set NEARTIME_TEST_POSTGRES to a server's URL")?;
    let mut sizes: Vec<i64> = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![10_000, 10_000_000];
    }
    let mut admin = PgConnection::connect(&url).await?;
    let mut fleets = Vec::new();
    for size in sizes {
        fleets.push(Fleet::new(&mut admin, &url, size).await?);
    }
    for round in 0..ROUNDS {
        for fleet in &mut fleets {
            register(&fleet.db, round).await?;
            fleet.race(&mut admin).await?;
        }
    }
    println!("{CLAIMERS} claimers, {PATHS} paths, {ROUNDS} rounds of {DUE} due tasks; milliseconds");
    println!(
        "| finished tasks | claim p50 | claim p99 | complete p50 | complete p99 | claims/s | lock waits | pulse |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for fleet in &fleets {
        println!("{}", fleet.row());
    }
    if let (Some(first), Some(last)) = (fleets.first(), fleets.last()) {
        let ((p50, p99), (last_p50, last_p99)) = (percentiles(&first.claims), percentiles(&last.claims));
        println!("claims, last line / first: p50 {:.2}, p99 {:.2}", last_p50 / p50, last_p99 / p99);
    }
    for fleet in fleets {
        fleet.db.close().await;
        run(&mut admin, format!("DROP SCHEMA {} CASCADE", fleet.schema)).await?;
    }
    Ok(())
}

/// A task database with so many finished tasks, and what was measured in it.
struct Fleet {
    finished: i64,
    schema: String,
    db: Arc<Tasks>,
    claims: Vec<Duration>,
    completions: Vec<Duration>,
    pulses: Vec<Duration>,
    elapsed: Duration,
    /// How many of the looks at the server found somebody waiting for a lock to claim.
    lock_waits: (usize, usize),
}

impl Fleet {
    async fn new(admin: &mut PgConnection, url: &str, finished: i64) -> Outcome<Self> {
        let schema = format!("neartime_bench_{finished}");
        run(admin, format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}schema={schema}&connections={}", CLAIMERS + 4);
        let db = Arc::new(Tasks::connect(&PostgresOptions::from_url(&url, Arc::new(SystemClock))?).await?);
        declare(&db).await?;
        fill(admin, &schema, finished).await?;
        Ok(Self {
            finished,
            schema,
            db,
            claims: Vec::new(),
            completions: Vec::new(),
            pulses: Vec::new(),
            elapsed: Duration::ZERO,
            lock_waits: (0, 0),
        })
    }

    async fn race(&mut self, admin: &mut PgConnection) -> Outcome<()> {
        let watch = Stopwatch::now();
        let claimers: Vec<_> = (0..CLAIMERS).map(|_| tokio::spawn(claim_all(Arc::clone(&self.db)))).collect();
        while claimers.iter().any(|claimer| !claimer.is_finished()) {
            let look = "SELECT count(*) FROM pg_stat_activity
                        WHERE wait_event_type = 'Lock' AND query LIKE '%nextval(''claim_turns'')%'";
            let waiting: i64 = sqlx::query_scalar(look).fetch_one(&mut *admin).await?;
            self.lock_waits = (self.lock_waits.0 + usize::from(waiting > 0), self.lock_waits.1 + 1);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.elapsed += watch.elapsed();
        for claimer in claimers {
            let (claims, completions): (Vec<_>, Vec<_>) = claimer.await??.into_iter().unzip();
            self.claims.extend(claims);
            self.completions.extend(completions);
        }
        let watch = Stopwatch::now();
        self.db.pulse().await?;
        self.pulses.push(watch.elapsed());
        Ok(())
    }

    fn row(&self) -> String {
        let ((claim, claim_99), (complete, complete_99)) = (percentiles(&self.claims), percentiles(&self.completions));
        let per_second = self.claims.len() as f64 / self.elapsed.as_secs_f64();
        let ((waits, looks), pulse, finished) = (self.lock_waits, percentiles(&self.pulses).0, self.finished);
        format!(
            "| {finished} | {claim:.2} | {claim_99:.2} | {complete:.2} | {complete_99:.2} | {per_second:.0} | {waits} of \
             {looks} | {pulse:.1} |"
        )
    }
}

async fn run(conn: &mut PgConnection, statement: String) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await?;
    Ok(())
}

fn source() -> SourceName {
    SourceName::new("events").unwrap()
}

fn feature() -> (FeatureName, FeatureVersion) {
    (FeatureName::new("a").unwrap(), FeatureVersion(1))
}

async fn declare(db: &Tasks) -> Outcome<()> {
    let layout = "{brand}/%Y/%m/%d/%H%M.gz".to_owned();
    db.declare_sources(&[SourceDeclaration { name: source(), width: ChunkWidth::TEN_MINUTES, layout }]).await?;
    let (name, version) = feature();
    let feature = FeatureDeclaration {
        name,
        version,
        source: source(),
        engine: "count".into(),
        keys: vec!["id".into()],
        columns: Vec::new(),
        definition: String::new(),
    };
    db.declare_features(&[feature]).await?;
    Ok(())
}

/// Finished tasks with a file and a run each, going back from 2017. The indexes are made afterwards, which is quicker.
async fn fill(conn: &mut PgConnection, schema: &str, finished: i64) -> Outcome<()> {
    run(conn, format!("SET search_path = {schema}")).await?;
    let indexes = "SELECT indexname, indexdef FROM pg_indexes i
        WHERE schemaname = current_schema() AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname)";
    let indexes: Vec<(String, String)> = sqlx::query_as(indexes).fetch_all(&mut *conn).await?;
    for (name, _) in &indexes {
        run(conn, format!("DROP INDEX {name}")).await?;
    }
    let script = format!(
        "INSERT INTO paths (source, file_path)
        SELECT 'events', 'path' || p || '/' FROM generate_series(0, {PATHS} - 1) p;
        INSERT INTO tasks (path_id, source, source_bucket, file_path, data_chunk, ts_to_process, width, state, lane,
                           fence, generation, claimed_generation, done_generation, completion)
        SELECT p.path_id, 'events', 's3://raw-data-reservoir', p.file_path, chunk, chunk + 780000000, 600000000, 'done',
               'fresh', n, 1, 1, 1, n
        FROM (
            SELECT n, 1500000000000000 - n / {PATHS} * 600000000 AS chunk FROM generate_series(1::bigint, {finished}) n
        ) g
        JOIN paths p ON p.file_path = 'path' || n % {PATHS} || '/';
        INSERT INTO files (source, key, task_id, version, size, state, generation, registered_at)
        SELECT 'events', file_path || data_chunk || '.gz', task_id, '9a0364b9e99bb480dd25e1f0284c8555', 1000000, 'present',
               1, 1
        FROM tasks
        ORDER BY path_id, data_chunk;
        INSERT INTO runs (task_id, feature, data_chunk, version, state, done_generation, rows, bytes, ended_at)
        SELECT task_id, 'a', data_chunk, 1, 'done', 1, 10, 1000, 1 FROM tasks;
        SELECT setval('completions', {finished})"
    );
    run(conn, script).await?;
    for (_, definition) in indexes {
        run(conn, definition).await?;
    }
    run(conn, "VACUUM (ANALYZE) tasks".to_owned()).await?;
    run(conn, "VACUUM (ANALYZE) runs".to_owned()).await?;
    run(conn, "VACUUM (ANALYZE) files".to_owned()).await
}

/// A round's tasks, later than all before.
async fn register(db: &Tasks, round: usize) -> Outcome<()> {
    let first = Instant::from_ymd(2018, 8, 1).unwrap() + Span::from_days(i64::try_from(round)?);
    let mut chunk = ChunkWidth::TEN_MINUTES.chunk_of(first);
    let mut files = Vec::new();
    for number in 0..DUE {
        let file_path = format!("path{}/", number % PATHS);
        files.push(FileRegistration {
            key: FileKey::new(format!("{file_path}{}.gz", chunk.start())),
            version: FileVersion::new("9a0364b9e99bb480dd25e1f0284c8555"),
            size_bytes: 1_000_000,
            source_bucket: "s3://raw-data-reservoir".into(),
            file_path: FilePath::new(file_path),
            chunk,
        });
        if number % PATHS == PATHS - 1 {
            chunk = chunk.next();
        }
    }
    let due = DueRule::End { delay: Span::from_mins(3) };
    db.register(&Registration { source: source(), due, files }).await?;
    Ok(())
}

async fn claim_all(db: Arc<Tasks>) -> Outcome<Vec<(Duration, Duration)>> {
    let (name, version) = feature();
    let sources = vec![WorkerSource { name: source(), features: vec![feature()] }];
    let request = ClaimRequest { worker: "bench".into(), sources, lease: Span::from_secs(60) };
    let outcome = RunOutcome { feature: name, version, end: RunEnd::Done { rows: 1, bytes: 1 }, dropped: Vec::new() };
    let mut times = Vec::new();
    loop {
        let watch = Stopwatch::now();
        let Some(claim) = db.claim(&request).await? else { return Ok(times) };
        let claimed = watch.elapsed();
        let watch = Stopwatch::now();
        db.complete(&claim.lease, std::slice::from_ref(&outcome), None).await?;
        times.push((claimed, watch.elapsed()));
    }
}

/// p50 and p99, in milliseconds.
fn percentiles(times: &[Duration]) -> (f64, f64) {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).map_or(f64::NAN, |time| milliseconds(*time));
    (at(50), at(99))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
