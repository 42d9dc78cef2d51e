//! Discovery: what lies in a source's location is registered, in batches, each in one transaction.

use neartime_ingest::{DiscoverError, Found, Scope, Seen};
use neartime_model::Classify;
use neartime_tasks_db::{FileRegistration, Registered, Registration, TasksError};

use tokio::sync::mpsc;

use crate::edges::{Edges, SourceWork};
use crate::{Channel, Event};

/// Batches that a listing may be ahead of the registering.
const BATCHES_AHEAD: usize = 2;

/// What a pass over a source's location came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Files whose names fit the layout.
    pub matched: u64,
    /// Files whose names do not; they are left alone.
    pub unmatched: u64,
    /// What registering them changed.
    pub registered: Registered,
}

/// Why a pass broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error(transparent)]
    Listing(#[from] DiscoverError),
    #[error(transparent)]
    Tasks(#[from] TasksError),
}

impl Classify for PassError {
    fn kind(&self) -> neartime_model::ErrorKind {
        match self {
            Self::Listing(error) => error.kind(),
            Self::Tasks(error) => error.kind(),
        }
    }
}

/// Lists what `scope` covers and registers it, batch by batch; what was registered is noted in `seen`.
pub(crate) async fn pass(
    edges: &Edges,
    work: &SourceWork,
    scope: Scope<'_>,
    seen: &mut Seen,
) -> Result<Discovered, PassError> {
    let (sender, mut batches) = mpsc::channel::<Vec<Found>>(BATCHES_AHEAD);
    let registering = async move {
        let mut registered = Registered::default();
        while let Some(batch) = batches.recv().await {
            let added = edges.tasks.register(&registration(work, &batch)).await?;
            seen.note(&batch);
            registered.files += added.files;
            registered.created += added.created;
            registered.rearmed += added.rearmed;
        }
        Ok::<_, TasksError>(registered)
    };
    let listing = async {
        let listed = neartime_ingest::discover(&work.source, scope, &sender).await;
        drop(sender);
        listed
    };
    // Where registering fails its end of the channel goes with it, and the listing ends as cancelled.
    let (listed, registered) = tokio::join!(listing, registering);
    let (registered, listed) = (registered?, listed?);
    let discovered = Discovered { matched: listed.matched, unmatched: listed.unmatched, registered };
    tell(edges, work, discovered);
    Ok(discovered)
}

/// These files, for one transaction.
pub(crate) fn registration(work: &SourceWork, files: &[Found]) -> Registration {
    let file = |found: &Found| FileRegistration {
        key: found.key.clone(),
        version: found.version.clone(),
        size_bytes: found.size,
        source_bucket: found.source_bucket.clone(),
        file_path: found.path.clone(),
        chunk: found.chunk,
    };
    Registration { source: work.source.name.clone(), due: work.due_rule(), files: files.iter().map(file).collect() }
}

fn tell(edges: &Edges, work: &SourceWork, discovered: Discovered) {
    let source = &work.source.name;
    let Discovered { matched, unmatched, registered } = discovered;
    if registered.files > 0 {
        tracing::info!(%source, matched, unmatched, files = registered.files, created = registered.created,
            rearmed = registered.rearmed, "new files are registered");
    }
    let (source, channel) = (source.clone(), Channel::Listing);
    let event = Event::Discovered { source, channel, matched, registered: registered.files };
    edges.observer.observe(&event);
}
