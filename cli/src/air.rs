//! The Audience Index Report of a configuration, by hand and on a schedule.

use std::sync::Arc;

use async_trait::async_trait;
use neartime_air::{AirConfig, Effort, Membership, Publisher, SqlitePublisher};
use neartime_model::{Clock, FeatureName, Fence, Instant};
use neartime_scheduler::Job;

use crate::app::App;
use crate::config::{Air, Database};
use crate::exit::Invalid;
use crate::registry::Registry;

/// Resolves the features that `[air]` names, which may be Rust features.
pub(crate) fn config(air: &Air, registry: &Registry) -> anyhow::Result<AirConfig> {
    let member = |key: &str, name: &FeatureName, alive| -> anyhow::Result<Membership> {
        let feature =
            registry.feature(name).map_err(|error| Invalid(format!("`air.{key}` cannot be used: {error}")))?;
        let table = Arc::clone(feature.table());
        let max_behind = registry.source_of(&table).max_behind;
        Ok(Membership { table, alive, max_behind })
    };
    let segments = air.segments.iter().zip(&air.segments_alive);
    let sites_alive = neartime_air::Alive::For(air.alive);
    let config = AirConfig {
        segments: segments.map(|(name, alive)| member("segments", name, *alive)).collect::<Result<_, _>>()?,
        sites: air.sites.iter().map(|name| member("sites", name, sites_alive)).collect::<Result<_, _>>()?,
        groups: air.groups.clone(),
        site_names: air.site_names.clone(),
        order: air.order,
        thresholds: air.thresholds,
    };
    config.check()?;
    Ok(config)
}

/// The place where reports are published.
pub(crate) async fn publisher(air: &Air) -> anyhow::Result<Arc<dyn Publisher>> {
    match &air.database {
        Database::Sqlite(path) => Ok(Arc::new(SqlitePublisher::open(path).await?)),
        Database::Server(_) => unreachable!("refused when the configuration was read"),
    }
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
        let effort = Effort { memory_bytes: app.settings().memory_bytes, ..Effort::default() };
        let air = neartime_air::Air {
            config: config(air, registry)?,
            features_store: app.features_store().to_owned(),
            udb: app.udb(),
            publisher: publisher(air).await?,
            effort,
        };
        Ok(Self { air, clock: Arc::clone(app.clock()) })
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
            None => match self.air.newest_chunk_end()? {
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
