//! Makes a report: refreshes the user database and the counts, computes, publishes.

use std::sync::Arc;

use neartime_model::{Clock, FeatureName, Fence, Instant, panic_text};
use tokio::runtime::Handle;

use crate::config::AirConfig;
use crate::durable::Syncs;
use crate::error::AirError;
use crate::input::{FeatureFiles, FeaturesPlace};
use crate::names::{Groups, SiteNames, read_groups, read_site_names};
use crate::progress::{Progress, Stage};
use crate::publish::Publisher;
use crate::refresh::{Effort, Refresh, Refreshed};
use crate::report::{Of, Report, ReportInput, ReportNames, group_names};
use crate::udb::{Dictionary, Folder, Inputs, Kind, Lanes, Listing, Mirror, UdbPlace};

/// How often a features store that changes while it is read is read again, and a damaged user database made again.
const ATTEMPTS: usize = 3;

/// The report of a configuration.
#[derive(Clone, Debug)]
pub struct Air {
    /// What it is made of.
    pub config: AirConfig,
    /// What it is read from.
    pub features_store: FeaturesPlace,
    /// Where the user database lies.
    pub udb: UdbPlace,
    /// Where it is published.
    pub publisher: Arc<dyn Publisher>,
    /// How much of the machine may be used.
    pub effort: Effort,
    /// Who is told how far it is.
    pub progress: Progress,
    /// Tells which snapshots are of days that are yet to come.
    pub clock: Arc<dyn Clock>,
}

impl Air {
    /// Makes the report as of `as_of`, rounded down to a chunk's end, and publishes it.
    ///
    /// `fence` must be greater than that of every earlier run. Runs in one user database wait for each other.
    pub async fn run(&self, as_of: Instant, fence: Fence) -> Result<Report, AirError> {
        let run = move |air: &Self, runtime: Handle| {
            let publish = |report: &Report| {
                air.progress.tell(Stage::Publishing(report.len()));
                runtime.block_on(air.publisher.publish(report))
            };
            air.run_here(as_of, fence, &runtime, publish)
        };
        self.blocking(run).await
    }

    /// Makes the report without publishing it.
    pub async fn compute(&self, as_of: Instant, fence: Fence) -> Result<Report, AirError> {
        self.blocking(move |air, runtime| air.run_here(as_of, fence, &runtime, |_| Ok(()))).await
    }

    /// The end of the newest chunk that the features store holds of the report's features; `None` if it holds none.
    pub async fn newest_chunk_end(&self) -> Result<Option<Instant>, AirError> {
        let newest = |air: &Self, runtime| {
            let store = air.feature_files(runtime);
            let ends = air.config.members().map(|(_, member)| store.newest_chunk_end(&member.table));
            ends.collect::<Result<Vec<_>, _>>().map(|ends| ends.into_iter().flatten().max())
        };
        self.blocking(newest).await
    }

    /// Runs work that reads files on a thread that may wait for them.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self, Handle) -> Result<T, AirError> + Send + 'static,
    ) -> Result<T, AirError> {
        let (air, runtime) = (self.clone(), Handle::current());
        let result = tokio::task::spawn_blocking(move || work(&air, runtime)).await;
        result.unwrap_or_else(|ended| match ended.try_into_panic() {
            Ok(panic) => Err(AirError::Panicked { text: panic_text(panic) }),
            Err(_) => Err(AirError::Unsettled),
        })
    }

    fn run_here(
        &self,
        as_of: Instant,
        fence: Fence,
        runtime: &Handle,
        publish: impl FnOnce(&Report) -> Result<(), AirError>,
    ) -> Result<Report, AirError> {
        self.config.check()?;
        let as_of = self.floor(as_of);
        let (groups, site_names) = self.names()?;
        let lanes = Lanes::new(&self.config);
        let folder = Folder::lock(&self.udb.folder, lanes.fingerprint())?;
        let mirror = self.udb.bucket.as_ref().map(|bucket| Mirror::new(bucket, &folder, runtime.clone()));
        let mut shared = mirror.as_ref().map_or(Ok(Listing::default()), Mirror::fetch)?;
        let group_names = group_names(&groups);
        let mut attempt = 1;
        let (refresh, refreshed) = loop {
            let refresh = Refresh {
                config: &self.config,
                store: self.feature_files(runtime.clone()),
                folder: &folder,
                dictionary: Arc::new(Dictionary::open(&folder.dictionary())?),
                lanes: lanes.clone(),
                groups: &groups,
                group_names: &group_names,
                as_of,
                now: self.clock.now(),
                fence,
                effort: self.effort,
                progress: &self.progress,
                syncs: Syncs::begin(),
            };
            match refresh.run() {
                Ok(refreshed) => break (refresh, refreshed),
                Err(AirError::Unsettled) if attempt < ATTEMPTS => {}
                Err(error @ AirError::DamagedUdb { .. }) if attempt < ATTEMPTS => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "user database is made again");
                    folder.clear()?;
                    shared = shared.without_files();
                }
                Err(error) => return Err(error),
            }
            attempt += 1;
        };
        let report = self.report(refresh, refreshed, site_names, publish)?;
        if let Some(Err(error)) = mirror.map(|mirror| mirror.put(&shared, fence)) {
            // The report is right all the same; only the next one costs more.
            tracing::warn!(error = &error as &dyn std::error::Error, "user database was not put into the bucket");
        }
        drop(folder);
        Ok(report)
    }

    /// Makes the report of what was counted, and publishes it, while the disk takes what the next one begins with.
    fn report(
        &self,
        refresh: Refresh<'_>,
        refreshed: Refreshed,
        site_names: SiteNames,
        publish: impl FnOnce(&Report) -> Result<(), AirError>,
    ) -> Result<Report, AirError> {
        let Refreshed { state, hidden, inputs, work } = refreshed;
        let of = Of { as_of: refresh.as_of, fence: refresh.fence, inputs: report_inputs(inputs), work };
        let text = |kind| {
            let names = refresh.dictionary.names(kind);
            names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        };
        let names = ReportNames {
            segments: text(Kind::Segment),
            sites: text(Kind::Site),
            groups: refresh.group_names.to_vec(),
            grouping: refresh.groups.clone(),
            site_names,
        };
        std::thread::scope(|scope| {
            let keeping = scope.spawn(|| refresh.keep(&state, hidden));
            let report = Report::new(of, names, &state.counts, self.config.thresholds, self.effort.threads);
            let published = publish(&report);
            let kept = keeping.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            published.and(kept).map(|()| report)
        })
    }

    fn feature_files(&self, runtime: Handle) -> FeatureFiles {
        FeatureFiles { place: self.features_store.clone(), scratch: self.udb.folder.clone(), runtime }
    }

    /// The latest end of a chunk of any of the features at or before the instant.
    fn floor(&self, as_of: Instant) -> Instant {
        let ends = self.config.members().map(|(_, member)| member.table.width.chunk_of(as_of).start());
        ends.max().unwrap_or(as_of)
    }

    fn names(&self) -> Result<(Groups, SiteNames), AirError> {
        let groups = self.config.groups.as_deref().map_or(Ok(Groups::All), read_groups)?;
        let sites = self.config.site_names.as_deref().map_or(Ok(SiteNames::new()), read_site_names)?;
        Ok((groups, sites))
    }
}

fn report_inputs(inputs: Inputs) -> Vec<ReportInput> {
    let input = |(path, known): (String, crate::input::Known)| {
        let feature = path.split('/').next().unwrap_or_default();
        let feature = FeatureName::new(feature).expect("paths begin with the feature's folder");
        ReportInput { feature, path, order: known.order }
    };
    inputs.into_iter().map(input).collect()
}
