//! `neartime.toml`: read, checked and turned into the types of the other crates.
//!
//! Nothing is opened here but the configuration itself and the small files that it names. Every problem found is
//! reported at once, each with its key and line.

mod air;
mod document;
mod environment;
mod feature;
mod place;
mod secret;
mod section;
mod settings;
mod size;
mod source;
mod value;

use std::path::Path;

use neartime_model::SourceName;

pub(crate) use air::Air;
pub(crate) use document::ConfigError;
pub(crate) use environment::Environment;
pub(crate) use feature::FeatureConfig;
pub(crate) use place::{Database, Place};
pub(crate) use secret::Secret;
pub(crate) use settings::{Console, OnlineStore, Run, S3};
pub(crate) use size::Size;
pub(crate) use source::{Carries, Channel, SourceConfig};

use document::Document;
use section::Section;

/// Everything that a `neartime.toml` says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) tasks: Database,
    pub(crate) features_store: Place,
    /// Without one, features are published to Parquet only.
    pub(crate) online_store: Option<OnlineStore>,
    pub(crate) s3: S3,
    pub(crate) run: Run,
    pub(crate) console: Option<Console>,
    pub(crate) sources: Vec<SourceConfig>,
    pub(crate) features: Vec<FeatureConfig>,
    pub(crate) air: Option<Air>,
}

impl Config {
    /// Reads the file at `path`; relative paths in it are relative to its directory.
    pub(crate) fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let advice = if error.kind() == std::io::ErrorKind::NotFound {
                "; write one with `neartime init FILE…`, or name it with --config (`neartime demo` shows a complete one)"
            } else {
                ""
            };
            ConfigError::new(format!("could not read the configuration {}: {error}{advice}", path.display()))
        })?;
        let wrong = |error| ConfigError::new(format!("could not find the directory of {}: {error}", path.display()));
        let base = std::path::absolute(path.parent().unwrap_or(Path::new("")))
            .or_else(|_| std::env::current_dir())
            .map_err(wrong)?;
        Self::parse(&path.display().to_string(), &text, &base, environment)
    }

    /// Reads `text`, which is called `file` in problems.
    pub(crate) fn parse(file: &str, text: &str, base: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let document = Document::new(file, text, environment);
        let table = document.parse()?;
        let config = Self::read(document.root(&table), base);
        document.finish(config)
    }

    /// Whether anything in it is a bucket, a queue or a stream.
    pub(crate) fn needs_cloud(&self) -> bool {
        let is_bucket = |place: &Place| matches!(place, Place::Bucket { .. });
        let on_cloud = |source: &SourceConfig| is_bucket(&source.location) || !source.channels.is_empty();
        is_bucket(&self.features_store) || self.sources.iter().any(on_cloud)
    }

    /// Whether a source's files are made from a stream of events.
    pub(crate) fn is_filled_from_stream(&self, name: &SourceName) -> bool {
        let source = self.sources.iter().find(|source| source.source.name == *name);
        source.is_some_and(SourceConfig::is_filled_from_stream)
    }

    fn read(mut root: Section<'_>, base: &Path) -> Option<Self> {
        let tasks = settings::tasks(&mut root, base);
        let features_store = settings::features_store(&mut root, base);
        let online_store = settings::online_store(&mut root, base);
        let s3 = settings::s3(&mut root);
        let run = settings::run(&mut root, base);
        let console = settings::console(&mut root);
        let sources = source::read_all(&mut root, base);
        let features = feature::read_all(&mut root);
        let air = root.section("air").and_then(|section| air::read(section, base, &features));
        if let Some(store) = &features_store {
            refuse_own_output(&mut root, store, &sources);
        }
        root.finish();
        let (tasks, features_store) = (tasks?, features_store?);
        Some(Self { tasks, features_store, online_store, s3, run, console, sources, features, air })
    }
}

/// What is published must not look like what is read: every file of ours would be told of, and listed, as one of theirs.
fn refuse_own_output(root: &mut Section<'_>, store: &Place, sources: &[SourceConfig]) {
    for source in sources.iter().filter(|source| store.is_bucket() && store.is_within(&source.location)) {
        let (name, location) = (&source.source.name, &source.location);
        root.problem(format!(
            "the features store {store} lies in the location of the source `{name}` ({location}): move one of them"
        ));
    }
}

#[cfg(test)]
mod tests;
