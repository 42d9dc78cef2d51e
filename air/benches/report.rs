//! What `bench/air` runs: reports over a generated features store, timed, and formulas on given cells.
//!
//! ```text
//! report before STORE UDB AS_OF...  makes a report as of each instant in turn; the times until it is there, and until
//!                                   the next one can go on from it, go to standard error, the last report's cells to
//!                                   standard output as CSV
//! report any STORE UDB AS_OF...     the same with `order = "any"`
//! report publish STORE UDB AS_OF... the same as `before`, and publishes each report to a SQLite file in UDB, or to
//!                                   the Postgres database of NEARTIME_BENCH_POSTGRES
//! report cells                      reads `a,A,b,B` lines, writes `index,z,low,high,p`
//! ```
#![expect(clippy::print_stdout, reason = "a program whose output others read")]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant as Stopwatch;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use futures::StreamExt;
use futures::stream::BoxStream;
use neartime_air::{
    Air, AirConfig, AirError, Alive, CellCounts, Effort, FeaturesPlace, LiveReport, Membership, Order, Progress,
    Publisher, Report, Row, ShowQuery, SqlitePublisher, Thresholds, UdbPlace, p_value,
};
use neartime_engine::{Aggregate, FeatureTable, OnlineLayout, OutputColumn, OutputSchema, Role};
use neartime_model::{
    ChunkWidth, FeatureName, FeatureVersion, Fence, Instant, OutputName, SourceName, Span, SystemClock,
};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["cells"] => cells(),
        [mode @ ("before" | "any" | "publish"), store, udb, instants @ ..] if !instants.is_empty() => {
            let instants = instants.iter().map(|instant| instant.parse()).collect::<Result<Vec<Instant>, _>>()?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let order = if *mode == "any" { Order::Any } else { Order::Before };
            let paths = [Path::new(store), Path::new(udb)];
            runtime.block_on(count(order, paths, &instants, *mode == "publish"))
        }
        // `cargo test --benches` runs this without arguments.
        _ => Ok(()),
    }
}

fn cells() -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lines() {
        let line = line?;
        let numbers = line.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let [segment_site, group_site, segment, group] = numbers[..] else { return Err("four numbers a line".into()) };
        let measures = CellCounts { segment_site, group_site, segment, group }.measure();
        let text = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        let values = [measures.index, measures.z, measures.low, measures.high, measures.z.map(p_value)].map(text);
        println!("{}", values.join(","));
    }
    Ok(())
}

async fn count(
    order: Order,
    [store, udb]: [&Path; 2],
    instants: &[Instant],
    publish: bool,
) -> Result<(), Box<dyn Error>> {
    let groups = store.join("groups.csv");
    let config = AirConfig {
        segments: vec![member("user_segments")?],
        sites: vec![member("user_sites")?],
        groups: groups.exists().then_some(groups),
        site_names: None,
        order,
        thresholds: Thresholds { min_overlap: 0, min_site_audience: 0 },
    };
    std::fs::create_dir_all(udb)?;
    let publisher = Arc::new(Watched { publisher: publisher(udb, publish).await?, seen: Mutex::default() });
    let features_store = FeaturesPlace::Directory(store.to_owned());
    let air = Air {
        config,
        features_store,
        udb: UdbPlace::folder(udb),
        publisher: Arc::clone(&publisher) as Arc<dyn Publisher>,
        effort: Effort::default(),
        progress: Progress::default(),
        clock: Arc::new(SystemClock),
    };
    let mut last = None;
    for (number, &as_of) in (1..).zip(instants) {
        let begun = Stopwatch::now();
        let report = air.run(as_of, fence(udb, number)?).await?;
        let (kept, [made, published]) = (begun.elapsed().as_secs_f64(), publisher.since(begun));
        eprintln!("{as_of}: {made:.3} s, {:?}, {} rows, kept after {kept:.3} s", report.work, report.len());
        if publish {
            eprintln!("published in {:.3} s", published - made);
        }
        last = Some(report);
    }
    last.map_or(Ok(()), |report| print(&report))
}

async fn publisher(udb: &Path, publish: bool) -> Result<Option<Arc<dyn Publisher>>, Box<dyn Error>> {
    if !publish {
        return Ok(None);
    }
    #[cfg(feature = "postgres")]
    if let Ok(url) = std::env::var("NEARTIME_BENCH_POSTGRES") {
        return Ok(Some(Arc::new(neartime_air::PgPublisher::open(&url).await?)));
    }
    Ok(Some(Arc::new(SqlitePublisher::open(udb.join("air.db")).await?)))
}

/// Sees when a report is there to be published, and when it is.
#[derive(Debug)]
struct Watched {
    publisher: Option<Arc<dyn Publisher>>,
    seen: Mutex<Vec<Stopwatch>>,
}

impl Watched {
    fn see(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Stopwatch::now());
    }

    /// How many seconds after `begun` the last report was there, and was published.
    fn since(&self, begun: Stopwatch) -> [f64; 2] {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        [0, 1].map(|at| seen[at].duration_since(begun).as_secs_f64())
    }
}

#[async_trait]
impl Publisher for Watched {
    async fn publish(&self, report: &Report) -> Result<(), AirError> {
        self.see();
        if let Some(publisher) = &self.publisher {
            publisher.publish(report).await?;
        }
        self.see();
        Ok(())
    }

    async fn live(&self) -> Result<Option<LiveReport>, AirError> {
        Ok(None)
    }

    fn show(&self, _: &ShowQuery) -> BoxStream<'static, Result<Row<String>, AirError>> {
        futures::stream::empty().boxed()
    }
}

/// Fences grow from process to process.
fn fence(udb: &Path, number: i64) -> Result<Fence, Box<dyn Error>> {
    let path = udb.join("fence");
    let last: i64 = std::fs::read_to_string(&path).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let fence = last + number;
    std::fs::write(&path, fence.to_string())?;
    Ok(Fence(fence))
}

fn print(report: &Report) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "site,segment_group,segment,segment_users,group_users,segment_site_users,group_site_users")?;
    for row in report.rows() {
        let (a, all) = (row.segment_site_users.unwrap_or(0), row.group_site_users.unwrap_or(0));
        let (site, group, segment) = (row.site, row.segment_group, row.segment);
        writeln!(out, "{site},{group},{segment},{},{},{a},{all}", row.segment_users, row.group_users)?;
    }
    Ok(out.flush()?)
}

fn member(name: &str) -> Result<Membership, Box<dyn Error>> {
    let column = |name: &str, data_type, role| -> Result<OutputColumn, Box<dyn Error>> {
        Ok(OutputColumn { name: OutputName::new(name)?, data_type, role })
    };
    let time = || DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let output = OutputSchema::new(vec![
        column("id", DataType::Utf8, Role::Entity)?,
        column("item", DataType::Utf8, Role::Item)?,
        column("min_ts", time(), Role::Value(Aggregate::Min))?,
        column("max_ts", time(), Role::Value(Aggregate::Max))?,
    ]);
    let table = FeatureTable {
        name: FeatureName::new(name)?,
        version: FeatureVersion(1),
        engine: "segment_membership",
        source: SourceName::new("events")?,
        width: ChunkWidth::HOUR,
        output,
        online: OnlineLayout::PerChunk,
        retention: None,
        ratios: Vec::new(),
    };
    let days = Span::from_days(30);
    Ok(Membership { table: Arc::new(table), alive: Alive::For(days), max_behind: Some(days) })
}
