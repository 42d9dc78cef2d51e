//! `run --once` on a stream of shards that end when a test says so.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use neartime_ingest::channel::{EventStream, Page, Position, Shard, ShardId as Id, ShardReader};
use neartime_model::Span;

use super::*;
use crate::edges::Carries;
use crate::{Edges, testing};

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

#[tokio::test]
async fn once_reads_on_to_the_end_of_a_closed_shard_and_then_its_children() {
    for pages_before_end in [0, 1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let source = testing::source(folder.path());
        let opened = Arc::new(Mutex::new(Vec::new()));
        let stream = Arc::new(Split { pages_before_end, opened: Arc::clone(&opened) });
        let stream = StreamWork { source: source.source.name.clone(), stream, carries: Carries::Keys };
        let edges = Edges { streams: vec![stream], sources: vec![source], ..testing::edges(folder.path()).await };
        let tasks = Arc::clone(&edges.tasks);
        Scheduler::new(edges, testing::settings()).unwrap().run_once().await.unwrap();
        assert_eq!(*opened.lock().unwrap(), ["parent", "child"]);
        let is_finished = |row: neartime_tasks_db::ShardRow| (row.shard.0, row.finished_at.is_some());
        let mut shards: Vec<_> = tasks.shards().await.unwrap().into_iter().map(is_finished).collect();
        shards.sort();
        assert_eq!(shards, [("child".to_owned(), false), ("parent".to_owned(), true)]);
    }
}

/// Two open shards. The first time, the second of them cannot be opened while the first one is read.
#[derive(Debug, Default)]
struct Moody {
    refused: AtomicBool,
}

#[async_trait]
impl EventStream for Moody {
    fn name(&self) -> &str {
        "moody"
    }

    async fn shards(&self) -> Result<Vec<Shard>, ChannelError> {
        Ok(["first", "second"].map(|id| Shard { id: Id::new(id), parents: Vec::new() }).into())
    }

    async fn open(&self, shard: &Id, _: &Position) -> Result<Box<dyn ShardReader>, ChannelError> {
        if *shard == Id::new("second") && !self.refused.swap(true, Ordering::Relaxed) {
            let (doing, reason) = ("read the stream".to_owned(), "it is busy".to_owned());
            return Err(ChannelError::Unavailable { doing, reason, source: "busy".into() });
        }
        Ok(Box::new(Slow { is_behind: true }))
    }
}

/// Behind at first, then at the tip.
#[derive(Debug)]
struct Slow {
    is_behind: bool,
}

#[async_trait]
impl ShardReader for Slow {
    async fn next(&mut self) -> Result<Page, ChannelError> {
        let behind = if std::mem::take(&mut self.is_behind) { Span::from_mins(1) } else { Span::ZERO };
        Ok(Page { behind: Some(behind), ..Page::default() })
    }
}

#[tokio::test]
async fn once_reads_all_shards_though_one_fails_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let source = testing::source(folder.path());
    let stream = Arc::new(Moody::default());
    let stream = StreamWork { source: source.source.name.clone(), stream, carries: Carries::Keys };
    let edges = Edges { streams: vec![stream], sources: vec![source], ..testing::edges(folder.path()).await };
    let tasks = Arc::clone(&edges.tasks);
    Scheduler::new(edges, testing::settings()).unwrap().run_once().await.unwrap();
    let shards = tasks.shards().await.unwrap();
    assert_eq!(shards.len(), 2);
    for shard in shards {
        assert!(shard.checkpoint_at.is_some() && shard.worker.is_none(), "{shard:?}");
    }
}

#[tokio::test]
async fn once_waits_for_a_shard_whose_reader_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let source = testing::source(folder.path());
    let stream = Arc::new(Moody { refused: true.into() });
    let stream = StreamWork { source: source.source.name.clone(), stream, carries: Carries::Keys };
    let id = StreamId { source: source.source.name.clone(), stream: "moody".to_owned() };
    let edges = Edges { streams: vec![stream], sources: vec![source], ..testing::edges(folder.path()).await };
    let tasks = Arc::clone(&edges.tasks);
    let shards = ["first", "second"].map(|id| ShardDeclaration { shard: ShardId(id.to_owned()), parents: Vec::new() });
    tasks.declare_shards(&id, &shards, InitialPosition::Horizon).await.unwrap();
    let gone = ShardRequest { stream: id, worker: "gone".to_owned(), lease: Span::from_secs(1), max_shards: 1 };
    tasks.claim_shard(&gone).await.unwrap().expect("a shard is free");
    Scheduler::new(edges, testing::settings()).unwrap().run_once().await.unwrap();
    for shard in tasks.shards().await.unwrap() {
        assert!(shard.checkpoint_at.is_some() && shard.worker.is_none(), "{shard:?}");
    }
}
