//! Builds what the verbs need: databases, stores, sources with their features.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use neartime_air::{UdbPlace, UdbTable};
use neartime_engine::Feature;
use neartime_ingest::RawTable;
use neartime_model::{Clock, SystemClock};
use neartime_scheduler::{CronJob, Edges, Observer, Settings};
use neartime_stores::{FeaturesStore, OnlineStore, SqlSession, SqliteOnlineStore};
use neartime_tasks_db::{SqliteOptions, SqliteTasks, TasksDb};

use crate::args::{Format, Global};
use crate::config::{Config, Database, Environment, Place};
use crate::exit::Invalid;
use crate::quarantine_table;
use crate::registry::Registry;

/// How long the daemon rests between two listings of a source.
const LISTING_INTERVAL: Duration = Duration::from_secs(5);
/// How long `run --once` waits for a service that is away.
const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration and the features, and what is made of them.
pub(crate) struct App {
    global: Global,
    config: Config,
    rust_features: Vec<Arc<dyn Feature>>,
    clock: Arc<dyn Clock>,
}

impl App {
    /// Reads the configuration; opens nothing.
    pub(crate) fn load(global: Global, rust_features: Vec<Arc<dyn Feature>>) -> anyhow::Result<Self> {
        Self::with_environment(global, rust_features, &Environment::of_process())
    }

    /// The same with other overrides than this process's.
    pub(crate) fn with_environment(
        global: Global,
        rust_features: Vec<Arc<dyn Feature>>,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        let config = Config::load(&global.config, environment)?;
        let lacks = lacks(&config);
        if !lacks.is_empty() {
            let lacks = lacks.iter().map(|lack| format!("this build lacks {lack}")).collect::<Vec<_>>();
            return Err(Invalid(lacks.join("\n")).into());
        }
        Ok(Self { global, config, rust_features, clock: Arc::new(SystemClock) })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn format(&self) -> Format {
        self.global.format()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The sources with the features that run over them.
    pub(crate) fn registry(&self) -> anyhow::Result<Registry> {
        Registry::build(&self.config, &self.rust_features)
    }

    pub(crate) async fn tasks(&self) -> anyhow::Result<Arc<dyn TasksDb>> {
        match &self.config.tasks {
            Database::Sqlite(path) => {
                let options = SqliteOptions::new(path, Arc::clone(&self.clock));
                Ok(Arc::new(SqliteTasks::open(&options).await?))
            }
            Database::Server(_) => unreachable!("refused when the configuration was read"),
        }
    }

    pub(crate) fn offline(&self) -> anyhow::Result<Arc<FeaturesStore>> {
        Ok(Arc::new(FeaturesStore::directory(self.features_store())?))
    }

    /// The features store as a directory, which the report reads.
    pub(crate) fn features_store(&self) -> &Path {
        match &self.config.features_store {
            Place::Directory { path, .. } => path,
            Place::Bucket { .. } => unreachable!("refused when the configuration was read"),
        }
    }

    /// Where the user database lies: in a folder beside the features store.
    pub(crate) fn udb(&self) -> UdbPlace {
        let mut name = self.features_store().file_name().unwrap_or_default().to_owned();
        name.push("_udb");
        UdbPlace::folder(self.features_store().with_file_name(name))
    }

    /// `None` where the configuration has no online store.
    pub(crate) async fn online(&self) -> anyhow::Result<Option<Arc<dyn OnlineStore>>> {
        match self.config.online_store.as_ref().map(|store| &store.database) {
            None => Ok(None),
            Some(Database::Sqlite(path)) => {
                Ok(Some(Arc::new(SqliteOnlineStore::open(path, Arc::clone(&self.clock)).await?)))
            }
            Some(Database::Server(_)) => unreachable!("refused when the configuration was read"),
        }
    }

    /// SQL over features, raw files and the quarantine.
    pub(crate) async fn session(&self) -> anyhow::Result<SqlSession> {
        let memory = usize::try_from(self.config.run.memory.0).unwrap_or(usize::MAX);
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0).build_arc()?;
        let mut session = SqlSession::new((*self.offline()?).clone(), Arc::clone(&runtime), cores());
        let registry = self.registry()?;
        for work in &registry.sources {
            let raw = Arc::new(RawTable::new(Arc::clone(&work.source)));
            session = session.with_table("raw", work.source.name.as_str(), raw);
            for feature in &work.features {
                session = session.with_feature(Arc::clone(feature.table()));
            }
        }
        if let Some(air) = &self.config.air {
            // A report that cannot be made (a feature is off) must not take the other tables away.
            if let Ok(air) = crate::air::config(air, &registry) {
                let place = self.udb();
                for member in air.segments.iter().chain(&air.sites) {
                    let name = &member.table.name;
                    if let Some(table) = UdbTable::new(&air, &place, name) {
                        session = session.with_table("udb", name.as_str(), Arc::new(table));
                    }
                }
            }
        }
        let quarantine = quarantine_table::table(self.tasks().await?)?;
        Ok(session.with_plain_table("quarantine", quarantine))
    }

    /// What the scheduler works with; the online tables are there.
    pub(crate) async fn ready_edges(&self, registry: Registry, observer: Arc<dyn Observer>) -> anyhow::Result<Edges> {
        let edges = self.edges(registry, observer).await?;
        if let Some(online) = &edges.online {
            for feature in edges.sources.iter().flat_map(|work| &work.features) {
                online.ensure(feature.table()).await?;
            }
        }
        Ok(edges)
    }

    /// What the scheduler works with, nothing made yet but the databases' files.
    pub(crate) async fn edges(&self, registry: Registry, observer: Arc<dyn Observer>) -> anyhow::Result<Edges> {
        Ok(Edges {
            jobs: self.jobs(&registry).await?,
            tasks: self.tasks().await?,
            sources: registry.sources,
            queues: Vec::new(),
            streams: Vec::new(),
            offline: self.offline()?,
            online: self.online().await?,
            observer,
            clock: Arc::clone(&self.clock),
        })
    }

    /// What runs on a schedule: the report, if it has one.
    async fn jobs(&self, registry: &Registry) -> anyhow::Result<Vec<CronJob>> {
        let Some(schedule) = self.config.air.as_ref().and_then(|air| air.schedule.as_ref()) else {
            return Ok(Vec::new());
        };
        let report = crate::air::Report::open(self, registry).await?;
        Ok(vec![CronJob::new("air", schedule, Arc::new(report))?])
    }

    pub(crate) fn settings(&self) -> Settings {
        let run = &self.config.run;
        Settings {
            worker: worker_name(),
            workers: run.workers,
            read_threads: cores(),
            memory_bytes: usize::try_from(run.memory.0).unwrap_or(usize::MAX),
            lease: run.lease,
            deadline: run.deadline.to_std(),
            listing_interval: LISTING_INTERVAL,
            patience: PATIENCE,
        }
    }
}

/// What the configuration asks for and this build cannot do; all of it, not the first only.
fn lacks(config: &Config) -> Vec<String> {
    let mut lacks = Vec::new();
    if matches!(config.tasks, Database::Server(_)) {
        lacks.push("Postgres for the task table: set `database` in [tasks] to sqlite://…".to_owned());
    }
    if let Place::Bucket { .. } = &config.features_store {
        lacks.push(format!("S3 for the features store ({}): set `location` to a directory", config.features_store));
    }
    if config.online_store.as_ref().is_some_and(|store| matches!(store.database, Database::Server(_))) {
        lacks.push("Cassandra for the online store: set `url` in [online_store] to sqlite://…".to_owned());
    }
    for source in &config.sources {
        let name = &source.source.name;
        if let Place::Bucket { .. } = &source.location {
            lacks.push(format!("S3 for the source `{name}` ({}): set `location` to a directory", source.location));
        }
        for channel in &source.channels {
            lacks
                .push(format!("discovery by {} for the source `{name}`: set `discover` to [\"list\"]", channel.name()));
        }
    }
    if config.air.as_ref().is_some_and(|air| matches!(air.database, Database::Server(_))) {
        lacks.push("Postgres for the Audience Index Report: set `database` in [air] to sqlite://…".to_owned());
    }
    lacks
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Host and process, for people who read the task table.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "worker",
        host => host,
    };
    format!("{host}:{}", std::process::id())
}
