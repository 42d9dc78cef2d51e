//! The Audience Index Report of a configuration, by hand and on a schedule.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Array as _, AsArray as _};
use datafusion::arrow::datatypes::Int64Type;
use neartime_air::{AirConfig, Alive, Effort, Membership, Publisher, Thresholds};
use neartime_engine::FeatureTable;
use neartime_model::{Clock, FeatureName, Fence, Instant};
use neartime_scheduler::Job;
use neartime_stores::SqlSession;

use crate::app::App;
use crate::clients::publisher;
use crate::config::Air;
use crate::exit::Invalid;
use crate::registry::Registry;

/// Resolves the features that `[air]` names, which may be Rust features.
pub(crate) fn config(air: &Air, registry: &Registry) -> anyhow::Result<AirConfig> {
    let member = |key: &str, place: &str, name: &FeatureName, alive| -> anyhow::Result<Membership> {
        let unknown = |error| Invalid(format!("{place}: `air.{key}` cannot be used: {error}"));
        let feature = registry.feature(name).map_err(unknown)?;
        let table = Arc::clone(feature.table());
        // The source bounds the times of events, not those that a feature makes of their other columns.
        let max_behind = feature.keeps_event_time().then(|| registry.source_of(&table).max_behind);
        Ok(Membership { table, alive, max_behind })
    };
    let (segments, sites) = (&air.segments, &air.sites);
    let segment = |(name, alive): (_, &Alive)| member("segments", &segments.place, name, *alive);
    let site = |name| member("sites", &sites.place, name, Alive::For(air.alive));
    let config = AirConfig {
        segments: segments.names.iter().zip(&air.segments_alive).map(segment).collect::<Result<_, _>>()?,
        sites: sites.names.iter().map(site).collect::<Result<_, _>>()?,
        groups: air.groups.clone(),
        site_names: air.site_names.clone(),
        order: air.order,
        thresholds: air.thresholds,
    };
    config.check()?;
    Ok(config)
}

/// Thresholds that would surprise: those that hide too little, and those that hide everything there is.
pub(crate) async fn surprises(app: &App, config: &AirConfig) -> anyhow::Result<Vec<String>> {
    let Thresholds { min_overlap, min_site_audience } = config.thresholds;
    let mut surprises = Vec::new();
    if min_overlap == 0 {
        surprises.push("`air.min_overlap` is 0: the report tells of single people; this is for tests".to_owned());
    }
    if min_overlap > min_site_audience {
        surprises.push(format!(
            "`air.min_overlap` ({min_overlap}) is above `air.min_site_audience` ({min_site_audience}): every cell of a \
             site between them is suppressed"
        ));
    }
    let session = app.session().await?;
    for (what, key, least, members) in [
        ("site", "min_site_audience", min_site_audience, &config.sites),
        ("segment", "min_overlap", min_overlap, &config.segments),
    ] {
        let mut largest = 0;
        for member in members {
            largest = largest.max(largest_item(&session, &member.table).await?);
        }
        if (1..i64::from(least)).contains(&largest) {
            surprises.push(format!(
                "`air.{key}` ({least}) suppresses every cell: the largest {what} that there is has {largest} users"
            ));
        }
    }
    Ok(surprises)
}

/// Users of the item that most have; 0 if there are none yet.
async fn largest_item(session: &SqlSession, table: &FeatureTable) -> anyhow::Result<i64> {
    let query = format!(
        "select max(users) from (select count(distinct \"{}\") users from features_store.\"{}\" group by item)",
        table.output.entity(),
        table.name
    );
    let answer = session.query(&query).await?;
    let counts = answer.batches.iter().filter(|batch| batch.num_rows() > 0);
    let counts = counts.filter_map(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
    Ok(counts.filter(|counts| counts.is_valid(0)).map(|counts| counts.value(0)).max().unwrap_or(0))
}

/// The report, ready to be made.
pub(crate) struct Report {
    air: neartime_air::Air,
    clock: Arc<dyn Clock>,
}

impl Report {
    pub(crate) async fn open(app: &App, registry: &Registry) -> anyhow::Result<Self> {
        let Some(air) = &app.config().air else {
            return Err(Invalid("there is no report to make: add [air] to the configuration".to_owned()).into());
        };
        Self::new(app, registry, air, publisher(air).await?)
    }

    /// The same, published by the given publisher.
    pub(crate) fn new(
        app: &App,
        registry: &Registry,
        air: &Air,
        publisher: Arc<dyn Publisher>,
    ) -> anyhow::Result<Self> {
        let effort = Effort { memory_bytes: app.settings().memory_bytes, ..Effort::default() };
        let home = app.features_home()?;
        let air = neartime_air::Air {
            config: config(air, registry)?,
            features_store: home.place(),
            udb: home.udb(),
            publisher,
            effort,
            progress: neartime_air::Progress::default(),
            clock: Arc::clone(app.clock()),
        };
        Ok(Self { air, clock: Arc::clone(app.clock()) })
    }

    /// Tells how far a report is.
    pub(crate) fn watched(mut self, progress: neartime_air::Progress) -> Self {
        self.air.progress = progress;
        self
    }

    /// Makes and publishes the report as of `as_of`; by default as of the newest chunk that is done, never later than
    /// now. `None` if no chunk is done.
    pub(crate) async fn run(
        &self,
        as_of: Option<Instant>,
        fence: Fence,
    ) -> Result<Option<neartime_air::Report>, neartime_air::AirError> {
        let as_of = match as_of {
            Some(as_of) => as_of,
            None => match self.air.newest_chunk_end().await? {
                Some(newest) => newest.min(self.clock.now()),
                None => return Ok(None),
            },
        };
        self.air.run(as_of, fence).await.map(Some)
    }

    /// A fence for a run by hand: the present instant, as every claim's fence is, but above that of the live report.
    pub(crate) async fn next_fence(&self) -> Result<Fence, neartime_air::AirError> {
        let live = self.air.publisher.live().await?.map_or(0, |live| live.fence.0);
        Ok(Fence(self.clock.now().as_micros().max(live + 1)))
    }
}

#[async_trait]
impl Job for Report {
    async fn run(&self, fence: Fence) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match Self::run(self, None, fence).await? {
            Some(report) => tracing::info!(
                as_of = %report.as_of, rows = report.len(), suppressed = report.suppressed(), "the report is published"
            ),
            None => tracing::info!("no chunk of the report's features is done yet"),
        }
        Ok(())
    }
}
