//! What the configuration names outside of this machine: is it there, and does it let us in?

use std::io;
use std::path::Path;

use futures::TryStreamExt as _;
use neartime_model::{Classify, ErrorKind};
use neartime_scheduler::Edges;
use neartime_stores::FeaturesStore;
use neartime_tasks_db::check_clock;

use crate::app::App;
use crate::clients::publisher;
use crate::config::Place;

/// A place that cannot be reached, or refuses us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error("could not list the features store {place}: it cannot be reached or refuses us")]
    Bucket {
        place: String,
        #[source]
        cause: object_store::Error,
    },
    #[error("could not write into the features store {place}: make {folder} a directory that we may write to")]
    Directory {
        place: String,
        folder: String,
        #[source]
        cause: io::Error,
    },
}

impl Classify for Unreachable {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

/// Asks each of them; the task database has answered already when it was opened.
pub(super) async fn check(app: &App, edges: &Edges) -> Vec<anyhow::Error> {
    let mut refusals = Vec::new();
    let mut note = |asked: anyhow::Result<()>| refusals.extend(asked.err());
    note(check_clock(edges.tasks.as_ref(), app.clock().as_ref()).await.map(drop).map_err(Into::into));
    note(features_store(app, &edges.offline).await);
    if let Some(online) = &edges.online {
        for feature in edges.sources.iter().flat_map(|work| &work.features) {
            note(online.check(feature.table()).await.map(drop).map_err(Into::into));
        }
    }
    for work in &edges.queues {
        note(work.queue.check().await.map_err(Into::into));
    }
    for work in &edges.streams {
        note(work.stream.shards().await.map(drop).map_err(Into::into));
    }
    if let Some(air) = &app.config().air {
        note(publisher(air).await.map(drop));
    }
    refusals
}

async fn features_store(app: &App, store: &FeaturesStore) -> anyhow::Result<()> {
    match &app.config().features_store {
        Place::Directory { written, path } => writable(written, path).map_err(Into::into),
        place @ Place::Bucket { .. } => {
            let listed = store.objects().list(Some(store.root())).try_next().await;
            listed.map(drop).map_err(|cause| Unreachable::Bucket { place: place.to_string(), cause }.into())
        }
    }
}

/// Whether files can be made in the directory, or where it is yet to be made: with the first file that is published.
fn writable(written: &str, path: &Path) -> Result<(), Unreachable> {
    let folder = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    let probe = folder.join(format!(".neartime-check-{}", std::process::id()));
    let tried = std::fs::File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    let refused =
        |cause| Unreachable::Directory { place: written.to_owned(), folder: folder.display().to_string(), cause };
    tried.map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_yet_to_be_made_needs_a_parent_that_takes_files() {
        let home = tempfile::tempdir().unwrap();
        writable("features", &home.path().join("not/yet/there")).unwrap();
        writable("features", home.path()).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left behind");
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        for wrong in [file.clone(), file.join("below"), "/proc/nowhere".into()] {
            let error = writable("features", &wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", wrong.display());
            assert!(error.to_string().contains("could not write into the features store features"), "{error}");
        }
    }
}
