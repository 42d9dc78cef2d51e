//! Builds what the verbs need: databases, stores, sources with their features.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use neartime_air::UdbTable;
use neartime_engine::{Feature, FeatureTable};
use neartime_ingest::RawTable;
use neartime_model::{Clock, FeatureName, SystemClock};
use neartime_scheduler::{CronJob, Edges, Observer, RegisteredFiles, Settings};
use neartime_stores::{FeaturesStore, OnlineStore, SqlSession};
use neartime_tasks_db::{ColumnDeclaration, TasksDb, check_clock};

use crate::args::{Format, Global};
use crate::clients::{self, Cloud, FeaturesHome, patient_publisher};
use crate::config::{Config, Environment, Place};
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
    /// Where the configuration names a bucket, a queue or a stream.
    cloud: Option<Cloud>,
    clock: Arc<dyn Clock>,
}

impl App {
    /// Reads the configuration; asks nobody anything yet.
    pub(crate) async fn load(global: Global, rust_features: Vec<Arc<dyn Feature>>) -> anyhow::Result<Self> {
        Self::with_environment(global, rust_features, Environment::of_process()).await
    }

    /// The same with other overrides than this process's.
    pub(crate) async fn with_environment(
        global: Global,
        rust_features: Vec<Arc<dyn Feature>>,
        environment: Environment,
    ) -> anyhow::Result<Self> {
        let mut config = Config::load(&global.config, &environment)?;
        let lacks = clients::lacks(&config);
        if !lacks.is_empty() {
            return Err(Invalid(lacks.join("\n")).into());
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let cloud = match config.needs_cloud() {
            true => Some(Cloud::connect(&config.s3, Arc::clone(&clock)).await?),
            false => None,
        };
        if let Some(cloud) = &cloud {
            for source in &mut config.sources {
                source.source = clients::with_buckets(source, cloud)?;
            }
        }
        Ok(Self { global, config, rust_features, cloud, clock })
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
        clients::tasks(&self.config.tasks, Arc::clone(&self.clock)).await
    }

    pub(crate) fn offline(&self) -> anyhow::Result<Arc<FeaturesStore>> {
        Ok(Arc::new(self.features_home()?.store()?))
    }

    /// Where features live.
    pub(crate) fn features_home(&self) -> anyhow::Result<FeaturesHome> {
        Ok(match &self.config.features_store {
            Place::Directory { path, .. } => FeaturesHome::Directory(path.clone()),
            Place::Bucket { bucket, prefix } => {
                let cloud = self.cloud()?;
                FeaturesHome::Bucket {
                    objects: cloud.bucket(bucket),
                    puts: cloud.puts(bucket),
                    prefix: prefix.clone(),
                    scratch: self.config.run.scratch.clone(),
                }
            }
        })
    }

    /// `None` where the configuration has no online store.
    pub(crate) async fn online(&self) -> anyhow::Result<Option<Arc<dyn OnlineStore>>> {
        clients::online(self.config.online_store.as_ref(), Arc::clone(&self.clock)).await
    }

    /// Amazon Web Services, which this configuration names somewhere.
    pub(crate) fn cloud(&self) -> anyhow::Result<&Cloud> {
        self.cloud
            .as_ref()
            .ok_or_else(|| Invalid("nothing in this configuration is on Amazon Web Services".to_owned()).into())
    }

    /// SQL over features, raw files and the quarantine.
    pub(crate) async fn session(&self) -> anyhow::Result<SqlSession> {
        let memory = usize::try_from(self.config.run.memory.0).unwrap_or(usize::MAX);
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0).build_arc()?;
        let mut session = SqlSession::new((*self.offline()?).clone(), Arc::clone(&runtime), cores());
        let (registry, tasks) = (self.registry()?, self.tasks().await?);
        let declared = tasks.declared_columns().await?;
        for work in &registry.sources {
            let mut raw = RawTable::new(Arc::clone(&work.source));
            if self.config.is_filled_from_stream(&work.source.name) {
                raw = raw.registered_in(Arc::new(RegisteredFiles::new(Arc::clone(&tasks), work.source.name.clone())));
            }
            session = session.with_table("raw", work.source.name.as_str(), Arc::new(raw));
            for feature in &work.features {
                let table = feature.table();
                let former = former_measures(table, &declared);
                session = session.with_feature(Arc::clone(table)).with_former_measures(table.name.clone(), former);
            }
        }
        if let Some(air) = &self.config.air {
            // A report that cannot be made (a feature is off) must not take the other tables away.
            if let Ok(air) = crate::air::config(air, &registry) {
                let place = self.features_home()?.udb();
                for member in air.segments.iter().chain(&air.sites) {
                    let name = &member.table.name;
                    if let Some(table) = UdbTable::new(&air, &place, name) {
                        session = session.with_table("udb", name.as_str(), Arc::new(table));
                    }
                }
            }
        }
        let quarantine = quarantine_table::table(tasks)?;
        Ok(session.with_plain_table("quarantine", quarantine))
    }

    /// What the scheduler works with; the online tables are there.
    pub(crate) async fn ready_edges(&self, registry: Registry, observer: Arc<dyn Observer>) -> anyhow::Result<Edges> {
        let edges = self.edges(registry, observer).await?;
        check_clock(edges.tasks.as_ref(), self.clock.as_ref()).await?;
        if let Some(online) = &edges.online {
            for feature in edges.sources.iter().flat_map(|work| &work.features) {
                online.ensure(feature.table()).await?;
            }
        }
        Ok(edges)
    }

    /// What the scheduler works with, nothing made yet but the databases' files. It has no jobs: only a daemon runs them.
    pub(crate) async fn edges(&self, registry: Registry, observer: Arc<dyn Observer>) -> anyhow::Result<Edges> {
        let (queues, streams) = match &self.cloud {
            Some(cloud) => {
                (clients::queues(&self.config.sources, cloud)?, clients::streams(&self.config.sources, cloud)?)
            }
            None => (Vec::new(), Vec::new()),
        };
        Ok(Edges {
            jobs: Vec::new(),
            tasks: self.tasks().await?,
            sources: registry.sources,
            queues,
            streams,
            offline: self.offline()?,
            online: self.online().await?,
            observer,
            clock: Arc::clone(&self.clock),
        })
    }

    /// What runs on a schedule: the report, if it has one.
    pub(crate) async fn jobs(&self, registry: &Registry) -> anyhow::Result<Vec<CronJob>> {
        let Some((air, schedule)) = self.config.air.as_ref().and_then(|air| Some((air, air.schedule.as_ref()?))) else {
            return Ok(Vec::new());
        };
        let report = crate::air::Report::new(self, registry, air, patient_publisher(air).await?)?;
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

/// Measures that earlier versions of a feature declared and this one does not have.
fn former_measures(table: &FeatureTable, declared: &[(FeatureName, Vec<ColumnDeclaration>)]) -> Vec<Field> {
    let mut former: Vec<Field> = Vec::new();
    let of_table = declared.iter().filter(|(feature, _)| *feature == table.name);
    for ColumnDeclaration { name, data_type } in of_table.flat_map(|(_, columns)| columns) {
        let is_known = table.output.columns().iter().any(|column| column.name.as_str() == name)
            || former.iter().any(|field| field.name() == name);
        if is_known {
            continue;
        }
        match data_type.parse::<DataType>() {
            Ok(data_type) => former.push(Field::new(name, data_type, true)),
            Err(error) => {
                tracing::warn!(feature = %table.name, column = name, %error, "a former measure cannot be shown");
            }
        }
    }
    former
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Host and process, for people who read the task table; and a number that no other process has: containers may share
/// a host name, all with process 1, and shards are spread over workers by their names.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "worker",
        host => host,
    };
    format!("{host}:{}:{:08x}", std::process::id(), fastrand::u32(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_host_name_and_number_have_names_of_their_own() {
        let (one, other) = (worker_name(), worker_name());
        assert_ne!(one, other);
        let own = format!(":{}:", std::process::id());
        assert!(one.contains(&own) && other.contains(&own), "{one} {other}");
    }
}
