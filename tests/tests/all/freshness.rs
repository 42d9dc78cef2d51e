//! How old a row is when it can be looked up, by a clock that the test moves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use neartime_engine::{EventsTable, SqlFeature, SqlFeatureSpec, compile};
use neartime_ingest::{Column, ColumnKind, Format, Layout, Location, Source, SourceSpec};
use neartime_model::{ChunkWidth, Clock, Instant, ManualClock, SourceName, Span};
use neartime_scheduler::{Edges, Scheduler, Settings, SourceWork, Unobserved};
use neartime_stores::{FeaturesStore, OnlineStore, SqliteOnlineStore};
use neartime_tasks_db::{SqliteOptions, Tasks};
use neartime_tests::reservoir::put_lines;

/// A source of six-minute logs that is due one minute after the end of a chunk.
fn logs(raw: &Path) -> anyhow::Result<SourceWork> {
    let mut spec = SourceSpec::new(
        SourceName::new("logs")?,
        Location::directory("raw", raw)?,
        Layout::parse("%Y/%m/%d/%H%M*.gz")?,
        Format::Json,
        vec![Column::new("user", ColumnKind::String), Column::new("time", ColumnKind::iso())],
    );
    spec.width = ChunkWidth::new(Span::from_mins(6))?;
    spec.delay = Span::from_mins(1);
    let source = Arc::new(Source::new(spec)?);
    let events = EventsTable {
        source: source.name.clone(),
        schema: source.events_schema(),
        event_time: source.event_time().to_owned(),
        width: source.width,
    };
    let feature = SqlFeature::new(SqlFeatureSpec {
        name: "seen".to_owned(),
        version: None,
        source: "logs".to_owned(),
        engine: "count".to_owned(),
        filter: None,
        select: vec![("id".to_owned(), "user".to_owned())],
        keys: Some(vec!["id".to_owned()]),
        aggregate: Vec::new(),
        ratios: Vec::new(),
        retention: None,
    })?;
    Ok(SourceWork { source, features: vec![Arc::new(compile(Arc::new(feature), &events)?)] })
}

async fn scheduler(site: &Path, clock: &Arc<ManualClock>) -> anyhow::Result<Scheduler> {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
    let tasks = SqliteOptions::new(site.join("tasks.db"), Arc::clone(&clock)).with_clock(Arc::clone(&clock));
    let work = logs(&site.join("raw"))?;
    let online: Arc<dyn OnlineStore> =
        Arc::new(SqliteOnlineStore::open(&site.join("online.db"), Arc::clone(&clock)).await?);
    online.ensure(work.features[0].table()).await?;
    let edges = Edges {
        tasks: Arc::new(Tasks::open(&tasks).await?),
        sources: vec![work],
        queues: Vec::new(),
        streams: Vec::new(),
        offline: Arc::new(FeaturesStore::directory(&site.join("features_store"))?),
        online: Some(online),
        jobs: Vec::new(),
        observer: Arc::new(Unobserved),
        clock,
    };
    let settings = Settings {
        worker: "test".to_owned(),
        workers: 2,
        read_threads: 2,
        memory_bytes: 64 << 20,
        lease: Span::from_secs(60),
        deadline: Duration::from_secs(60),
        listing_interval: Duration::from_secs(5),
        patience: Duration::from_secs(5),
    };
    Ok(Scheduler::new(edges, settings)?)
}

/// The users that lookups can find now.
async fn served(site: &Path) -> anyhow::Result<Vec<String>> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.join("online.db")).read_only(true);
    let mut connection = sqlx::ConnectOptions::connect(&options).await?;
    Ok(sqlx::query_scalar("select id from seen").fetch_all(&mut connection).await?)
}

fn event(at: Instant) -> String {
    format!(r#"{{"user":"{}","time":"{at}"}}"#, at.as_secs())
}

/// Every half minute an event happens; at the end of each six minutes their file is put, and the daemon looks at its
/// work every half minute too.
#[tokio::test(flavor = "multi_thread")]
async fn six_minute_events_are_served_within_eight_minutes() -> anyhow::Result<()> {
    let site = tempfile::tempdir()?;
    let raw = site.path().join("raw");
    std::fs::create_dir(&raw)?;
    let begin: Instant = "2024-03-01T23:48:00Z".parse()?;
    let clock = Arc::new(ManualClock::new(begin));
    let scheduler = scheduler(site.path(), &clock).await?;
    let width = ChunkWidth::new(Span::from_mins(6))?;
    let (half_minute, most) = (Span::from_secs(30), Span::from_mins(8));
    let mut happened: Vec<Instant> = Vec::new();
    for _ in 0..60 {
        happened.push(clock.now());
        clock.advance(half_minute);
        let now = clock.now();
        if width.chunk_of(now).start() == now {
            let chunk = width.chunk_of(now - half_minute);
            let lines: Vec<String> = happened.iter().filter(|at| chunk.contains(**at)).map(|at| event(*at)).collect();
            let key = chunk.start().to_utc().expect("a civil time").format("%Y/%m/%d/%H%M.gz").to_string();
            put_lines(&raw, &key, lines.iter().map(String::as_str));
        }
        scheduler.run_once().await?;
        let served = served(site.path()).await?;
        for at in happened.iter().filter(|at| now - **at >= most) {
            assert!(served.contains(&at.as_secs().to_string()), "what happened at {at} is not served at {now}");
        }
        for user in &served {
            let chunk = width.chunk_of(Instant::from_secs(user.parse()?));
            assert!(chunk.due(Span::from_mins(1)) <= now, "{chunk:?} was served before it was due");
        }
    }
    assert!(served(site.path()).await?.len() >= 36, "the test saw chunks of both days");
    Ok(())
}
