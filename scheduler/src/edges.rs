//! What the scheduler is given: everything that it touches, as values.

use std::sync::Arc;
use std::time::Duration;

use neartime_engine::CompiledFeature;
use neartime_ingest::channel::{EventStream, Queue};
use neartime_ingest::reservoir::Reservoir;
use neartime_ingest::{Due, Source};
use neartime_model::{Clock, FeatureName, SourceName, Span};
use neartime_stores::{FeaturesStore, OnlineStore};
use neartime_tasks_db::{
    ColumnDeclaration, DueRule, FeatureDeclaration, SourceDeclaration, TasksDb, TasksError, WorkerSource,
};

use crate::{CronJob, Observer};

/// A source and the features that run over it.
#[derive(Clone, Debug)]
pub struct SourceWork {
    /// Where its files lie and how they read.
    pub source: Arc<Source>,
    /// Its features, checked against it.
    pub features: Vec<Arc<CompiledFeature>>,
}

/// A queue and the sources that it tells of. Several sources may share one, and then it must be read for all of them
/// at once: deleting a message deletes it for all.
#[derive(Clone, Debug)]
pub struct QueueWork {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// The sources, by name.
    pub sources: Vec<SourceName>,
}

/// A source's stream.
#[derive(Clone, Debug)]
pub struct StreamWork {
    /// The source.
    pub source: SourceName,
    /// The stream.
    pub stream: Arc<dyn EventStream>,
    /// What its records are.
    pub carries: Carries,
}

/// What the records of a stream are.
#[derive(Clone, Debug)]
pub enum Carries {
    /// Names of raw files.
    Keys,
    /// Events, of which raw files are made here; only those count, and the location is never listed.
    Events(Reservoir),
}

/// The databases, stores, sources and jobs that the scheduler works with.
pub struct Edges {
    /// The task database.
    pub tasks: Arc<dyn TasksDb>,
    /// Every source of the configuration.
    pub sources: Vec<SourceWork>,
    /// The queues that tell of their files.
    pub queues: Vec<QueueWork>,
    /// The streams that tell of their files, or carry their events.
    pub streams: Vec<StreamWork>,
    /// Where Parquet files go.
    pub offline: Arc<FeaturesStore>,
    /// Where lookups find their rows; `None` where the configuration has no online store.
    pub online: Option<Arc<dyn OnlineStore>>,
    /// What runs on a schedule.
    pub jobs: Vec<CronJob>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// The wall clock, for schedules. What is due is decided by the task database's clock alone.
    pub clock: Arc<dyn Clock>,
}

/// How the scheduler works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name that task rows show for this process.
    pub worker: String,
    /// Chunks worked on at the same time.
    pub workers: usize,
    /// Threads that fetch, inflate and parse for one chunk.
    pub read_threads: usize,
    /// Bytes that all workers' computations may hold; beyond it they spill to disk.
    pub memory_bytes: usize,
    /// How long a claim is held without a heartbeat.
    pub lease: Span,
    /// How long work on one claim may take.
    pub deadline: Duration,
    /// How long the daemon rests between two listings of a source.
    pub listing_interval: Duration,
    /// How long `run --once` waits for a service that is away.
    pub patience: Duration,
}

impl Edges {
    pub(crate) fn source(&self, name: &SourceName) -> Option<&SourceWork> {
        self.sources.iter().find(|work| work.source.name == *name)
    }

    /// Whether a source's location is listed: not if its files are made from a stream of events.
    pub fn is_listed(&self, work: &SourceWork) -> bool {
        let is_made =
            |stream: &&StreamWork| stream.source == work.source.name && matches!(stream.carries, Carries::Events(_));
        !self.streams.iter().any(|stream| is_made(&stream))
    }

    pub(crate) fn listed(&self) -> impl Iterator<Item = &SourceWork> {
        self.sources.iter().filter(|work| self.is_listed(work))
    }

    /// The sources that a feature reads: nobody works on the tasks of the others.
    pub(crate) fn read_sources(&self) -> Vec<SourceName> {
        let read = self.sources.iter().filter(|work| !work.features.is_empty());
        read.map(|work| work.source.name.clone()).collect()
    }

    /// Whether this feature runs here.
    pub(crate) fn runs(&self, feature: &FeatureName) -> bool {
        self.sources.iter().any(|work| work.feature(feature).is_some())
    }

    pub(crate) fn worker_sources(&self) -> Vec<WorkerSource> {
        self.sources.iter().map(SourceWork::for_workers).collect()
    }

    /// Tells the task database which sources and features there are; it refuses what contradicts what it stored.
    pub async fn declare(&self) -> Result<(), TasksError> {
        self.tasks.declare_sources(&self.source_declarations()).await?;
        for work in self.sources.iter().filter(|work| work.features.is_empty()) {
            tracing::warn!(source = %work.source.name, "no feature reads this source: its tasks wait until one does");
        }
        for known in self.tasks.declare_features(&self.feature_declarations()).await? {
            if known.newest > known.version {
                tracing::warn!(
                    feature = %known.name, version = %known.version, newest = %known.newest,
                    "a newer version of this feature has run on this task database"
                );
            }
        }
        Ok(())
    }

    /// The same checks as at the start of a run, remembering nothing.
    pub async fn check(&self) -> Result<(), TasksError> {
        self.tasks.check(&self.source_declarations(), &self.feature_declarations()).await
    }

    fn source_declarations(&self) -> Vec<SourceDeclaration> {
        let declare = |work: &SourceWork| SourceDeclaration {
            name: work.source.name.clone(),
            width: work.source.width,
            layout: work.source.layout.to_string(),
        };
        self.sources.iter().map(declare).collect()
    }

    fn feature_declarations(&self) -> Vec<FeatureDeclaration> {
        self.sources.iter().flat_map(|work| &work.features).map(|feature| declaration(feature)).collect()
    }
}

impl SourceWork {
    pub(crate) fn for_workers(&self) -> WorkerSource {
        let feature = |feature: &Arc<CompiledFeature>| (feature.table().name.clone(), feature.table().version);
        WorkerSource { name: self.source.name.clone(), features: self.features.iter().map(feature).collect() }
    }

    pub(crate) fn feature(&self, name: &FeatureName) -> Option<&Arc<CompiledFeature>> {
        self.features.iter().find(|feature| feature.table().name == *name)
    }

    pub(crate) fn due_rule(&self) -> DueRule {
        match self.source.due {
            Due::End => DueRule::End { delay: self.source.delay },
            Due::Landing => DueRule::Landing,
        }
    }
}

fn declaration(feature: &CompiledFeature) -> FeatureDeclaration {
    let table = feature.table();
    let column = |column: &neartime_engine::OutputColumn| ColumnDeclaration {
        name: column.name.to_string(),
        data_type: column.data_type.to_string(),
    };
    FeatureDeclaration {
        name: table.name.clone(),
        version: table.version,
        source: table.source.clone(),
        engine: table.engine.to_owned(),
        keys: table.output.row_key().map(|column| column.name.to_string()).collect(),
        columns: table.output.columns().iter().map(column).collect(),
        definition: feature.definition().to_owned(),
    }
}
