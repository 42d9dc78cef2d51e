//! Which features run over which source, and which are off.

use std::sync::Arc;

use neartime_engine::{CompiledFeature, EventsTable, Feature, FeatureTable, Refused, SqlFeature, compile};
use neartime_ingest::Source;
use neartime_model::{FeatureName, chain};
use neartime_scheduler::SourceWork;

use crate::config::{Config, ConfigError, FeatureConfig};
use crate::exit::Invalid;

/// Every source with its features, and the features that do not run.
pub(crate) struct Registry {
    pub(crate) sources: Vec<SourceWork>,
    pub(crate) off: Vec<Off>,
}

/// A Rust feature that this configuration does not run.
pub(crate) struct Off {
    pub(crate) feature: String,
    pub(crate) engine: &'static str,
    pub(crate) source: String,
    pub(crate) version: u32,
    pub(crate) reason: String,
}

impl Registry {
    /// Compiles the configuration's features, and those of the binary whose names it does not take. A feature of the
    /// configuration that cannot run is an error; one of the binary whose source is not there, or lacks columns, is
    /// off.
    pub(crate) fn build(config: &Config, rust_features: &[Arc<dyn Feature>]) -> anyhow::Result<Self> {
        let sources =
            config.sources.iter().map(|source| SourceWork { source: Arc::clone(&source.source), features: vec![] });
        let mut registry = Self { sources: sources.collect(), off: Vec::new() };
        let mut problems = Vec::new();
        for feature in &config.features {
            if let Err(problem) = registry.add_configured(feature) {
                problems.push(format!("{}: {problem}", feature.place));
            }
        }
        let is_taken =
            |feature: &Arc<dyn Feature>| config.features.iter().any(|taken| taken.name.as_str() == feature.name());
        for feature in rust_features.iter().filter(|feature| !is_taken(feature)) {
            registry.add_rust(feature, &mut problems);
        }
        if !problems.is_empty() {
            return Err(ConfigError::new(problems.join("\n")).into());
        }
        Ok(registry)
    }

    fn add_configured(&mut self, feature: &FeatureConfig) -> Result<(), String> {
        let sql = SqlFeature::new(feature.spec.clone()).map_err(|error| chain(&error))?;
        let Some(work) = self.source(&feature.spec.source) else {
            let known: Vec<_> = self.sources.iter().map(|work| format!("`{}`", work.source.name)).collect();
            return Err(format!("there is no source `{}`, only {}", feature.spec.source, known.join(", ")));
        };
        let compiled = compile(Arc::new(sql), &events_table(&work.source)).map_err(|error| chain(&error))?;
        work.features.push(Arc::new(compiled));
        Ok(())
    }

    fn add_rust(&mut self, feature: &Arc<dyn Feature>, problems: &mut Vec<String>) {
        let Some(work) = self.source(feature.source()) else {
            let reason = format!("there is no source `{}`", feature.source());
            return self.off.push(Off::new(feature.as_ref(), reason));
        };
        match compile(Arc::clone(feature), &events_table(&work.source)) {
            Ok(compiled) => work.features.push(Arc::new(compiled)),
            Err(Refused::Off { missing, .. }) => {
                let reason = format!("its source has no column {}", missing.join(", "));
                self.off.push(Off::new(feature.as_ref(), reason));
            }
            Err(error) => problems.push(chain(&error)),
        }
    }

    fn source(&mut self, name: &str) -> Option<&mut SourceWork> {
        self.sources.iter_mut().find(|work| work.source.name.as_str() == name)
    }

    /// The source that a feature's table is made from.
    pub(crate) fn source_of(&self, table: &FeatureTable) -> &Source {
        let work = self.sources.iter().find(|work| work.source.name == table.source);
        &work.expect("a table of this registry has its source here").source
    }

    /// A feature that runs.
    pub(crate) fn feature(&self, name: &FeatureName) -> anyhow::Result<Arc<CompiledFeature>> {
        let mut running = self.sources.iter().flat_map(|source| &source.features);
        if let Some(feature) = running.find(|feature| feature.table().name == *name) {
            return Ok(Arc::clone(feature));
        }
        let off = self.off.iter().find(|off| off.feature == name.as_str());
        Err(match off {
            Some(off) => Invalid(format!("the feature `{name}` is off: {}", off.reason)),
            None => Invalid(format!("no feature `{name}` runs here: `neartime features` lists those that do")),
        }
        .into())
    }
}

impl Off {
    fn new(feature: &dyn Feature, reason: String) -> Self {
        Self {
            feature: feature.name().to_owned(),
            engine: feature.engine().name(),
            source: feature.source().to_owned(),
            version: feature.version(),
            reason,
        }
    }
}

fn events_table(source: &Source) -> EventsTable {
    EventsTable {
        source: source.name.clone(),
        schema: source.events_schema(),
        event_time: source.event_time().to_owned(),
        width: source.width,
    }
}
