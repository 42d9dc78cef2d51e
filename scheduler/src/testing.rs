//! What tests hand to a scheduler.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use neartime_ingest::{Column, ColumnKind, Format, Layout, Location, Source, SourceSpec};
use neartime_model::{Span, SystemClock};
use neartime_stores::FeaturesStore;
use neartime_tasks_db::{SqliteOptions, Tasks};

use crate::{Edges, Settings, SourceWork, Unobserved};

/// Embedded stores in a folder, and nothing to do.
pub(crate) async fn edges(folder: &Path) -> Edges {
    let options = SqliteOptions::new(folder.join("tasks.db"), Arc::new(SystemClock));
    Edges {
        tasks: Arc::new(Tasks::open(&options).await.unwrap()),
        sources: Vec::new(),
        queues: Vec::new(),
        streams: Vec::new(),
        offline: Arc::new(FeaturesStore::directory(&folder.join("features_store")).unwrap()),
        online: None,
        jobs: Vec::new(),
        observer: Arc::new(Unobserved),
        clock: Arc::new(SystemClock),
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        worker: "test".to_owned(),
        workers: 1,
        read_threads: 1,
        memory_bytes: 64 << 20,
        lease: Span::from_secs(60),
        deadline: Duration::from_secs(60),
        listing_interval: Duration::from_secs(60),
        patience: Duration::from_secs(5),
    }
}

/// A source `events` without files.
pub(crate) fn source(folder: &Path) -> SourceWork {
    source_named("events", folder)
}

pub(crate) fn source_named(name: &str, folder: &Path) -> SourceWork {
    let raw = folder.join("raw");
    std::fs::create_dir(&raw).unwrap();
    let location = Location::directory("raw", raw).unwrap();
    let layout = Layout::parse("%Y/%m/%d/%H%M.gz").unwrap();
    let columns = vec![Column::new("user", ColumnKind::String)];
    let spec = SourceSpec::new(name.parse().unwrap(), location, layout, Format::Json, columns);
    SourceWork { source: Arc::new(Source::new(spec).unwrap()), features: Vec::new() }
}
