//! What the configuration names outside of this machine: is it there, and does it let us in?

use futures::TryStreamExt as _;
use neartime_model::{Classify, ErrorKind};
use neartime_scheduler::Edges;
use neartime_stores::FeaturesStore;
use neartime_tasks_db::check_clock;

use crate::app::App;

/// A place that cannot be reached, or refuses us.
#[derive(Debug, thiserror::Error)]
#[error("could not list the features store {place}: it cannot be reached or refuses us")]
pub(crate) struct Unreachable {
    place: String,
    #[source]
    cause: object_store::Error,
}

impl Classify for Unreachable {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

/// Asks each of them; the task database and the online store have answered already when they were opened.
pub(super) async fn check(app: &App, edges: &Edges) -> Vec<anyhow::Error> {
    let mut refusals = Vec::new();
    let mut note = |asked: anyhow::Result<()>| refusals.extend(asked.err());
    note(check_clock(edges.tasks.as_ref(), app.clock().as_ref()).await.map(drop).map_err(Into::into));
    note(features_store(app, &edges.offline).await);
    for work in &edges.queues {
        note(work.queue.check().await.map_err(Into::into));
    }
    for work in &edges.streams {
        note(work.stream.shards().await.map(drop).map_err(Into::into));
    }
    refusals
}

async fn features_store(app: &App, store: &FeaturesStore) -> anyhow::Result<()> {
    let place = &app.config().features_store;
    if !place.is_bucket() {
        // It is made when the first file is published.
        return Ok(());
    }
    let listed = store.objects().list(Some(store.root())).try_next().await;
    listed.map(drop).map_err(|cause| Unreachable { place: place.to_string(), cause }.into())
}
