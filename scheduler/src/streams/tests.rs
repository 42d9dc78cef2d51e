//! `run --once` on a stream of shards that end when a test says so.

use std::sync::Mutex;

use async_trait::async_trait;
use neartime_ingest::channel::{EventStream, Page, Position, Shard, ShardId as Id, ShardReader};
use neartime_ingest::{Column, ColumnKind, Format, Layout, Location, Source, SourceSpec};
use neartime_model::{Span, SystemClock};
use neartime_stores::FeaturesStore;
use neartime_tasks_db::{SqliteOptions, Tasks, TasksDb};

use super::*;
use crate::edges::Carries;
use crate::{Edges, Settings, Unobserved};

/// A shard `parent` that was split, and one of its children. There are no records.
#[derive(Debug)]
struct Split {
    /// Empty pages of the parent before the one that tells its end.
    pages_before_end: usize,
    opened: Arc<Mutex<Vec<String>>>,
}

fn child() -> Shard {
    Shard { id: Id::new("child"), parents: vec![Id::new("parent")] }
}

#[async_trait]
impl EventStream for Split {
    fn name(&self) -> &str {
        "split"
    }

    async fn shards(&self) -> Result<Vec<Shard>, ChannelError> {
        Ok(vec![Shard { id: Id::new("parent"), parents: Vec::new() }, child()])
    }

    async fn open(&self, shard: &Id, _: &Position) -> Result<Box<dyn ShardReader>, ChannelError> {
        self.opened.lock().unwrap().push(shard.to_string());
        let pages_before_end = (*shard != child().id).then_some(self.pages_before_end);
        Ok(Box::new(Empty { pages_before_end }))
    }
}

#[derive(Debug)]
struct Empty {
    /// None for a shard that stays open.
    pages_before_end: Option<usize>,
}

#[async_trait]
impl ShardReader for Empty {
    async fn next(&mut self) -> Result<Page, ChannelError> {
        let page = Page { behind: Some(Span::ZERO), ..Page::default() };
        Ok(match &mut self.pages_before_end {
            None => page,
            Some(0) => Page { children: Some(vec![child()]), ..page },
            Some(left) => {
                *left -= 1;
                page
            }
        })
    }
}

/// A source that a stream tells of.
fn source(folder: &std::path::Path) -> SourceWork {
    let raw = folder.join("raw");
    std::fs::create_dir(&raw).unwrap();
    let location = Location::directory("raw", raw).unwrap();
    let layout = Layout::parse("%Y/%m/%d/%H%M.gz").unwrap();
    let columns = vec![Column::new("user", ColumnKind::String)];
    let spec = SourceSpec::new("events".parse().unwrap(), location, layout, Format::Json, columns);
    SourceWork { source: Arc::new(Source::new(spec).unwrap()), features: Vec::new() }
}

fn settings() -> Settings {
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

#[tokio::test]
async fn once_reads_on_to_the_end_of_a_closed_shard_and_then_its_children() {
    for pages_before_end in [0, 1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("tasks.db"), Arc::new(SystemClock));
        let tasks: Arc<dyn TasksDb> = Arc::new(Tasks::open(&options).await.unwrap());
        let source = source(folder.path());
        let opened = Arc::new(Mutex::new(Vec::new()));
        let stream = Arc::new(Split { pages_before_end, opened: Arc::clone(&opened) });
        let edges = Edges {
            tasks: Arc::clone(&tasks),
            streams: vec![StreamWork { source: source.source.name.clone(), stream, carries: Carries::Keys }],
            sources: vec![source],
            queues: Vec::new(),
            offline: Arc::new(FeaturesStore::directory(&folder.path().join("features_store")).unwrap()),
            online: None,
            jobs: Vec::new(),
            observer: Arc::new(Unobserved),
            clock: Arc::new(SystemClock),
        };
        Scheduler::new(edges, settings()).unwrap().run_once().await.unwrap();
        assert_eq!(*opened.lock().unwrap(), ["parent", "child"]);
        let is_finished = |row: neartime_tasks_db::ShardRow| (row.shard.0, row.finished_at.is_some());
        let mut shards: Vec<_> = tasks.shards().await.unwrap().into_iter().map(is_finished).collect();
        shards.sort();
        assert_eq!(shards, [("child".to_owned(), false), ("parent".to_owned(), true)]);
    }
}
