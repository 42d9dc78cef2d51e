//! Replaying Parquet into an online table.

use std::sync::Arc;

use futures::StreamExt;
use neartime_engine::{FeatureTable, OnlineLayout};
use neartime_model::{Classify, ErrorKind, Fence, chain};

use super::{OnlinePublished, OnlineStore, publish_online};
use crate::{FeaturesStore, StoreError};

/// Files that are replayed at the same time: one of few rows is done before a server has begun to be busy.
const REPLAYS: usize = 8;

/// What a rebuild replayed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Files read.
    pub files: u64,
    /// Rows sent to the online store.
    pub rows: u64,
}

impl Rebuilt {
    /// Adds one file, if it was there.
    pub fn add(&mut self, file: Option<OnlinePublished>) {
        if let Some(published) = file {
            self.files += 1;
            self.rows += published.rows;
        }
    }
}

/// Empties the online table of a feature that keeps the latest row of each key, and replays all of its files: the only
/// way in which a last action time gets lower. Calls `progress` after each file.
///
/// The tables of other engines are not rebuilt here but by [`publish_online`] for each task, at the fence of a claim.
///
/// # Errors
/// Failed for a table of another layout, and for corrupt files once all others are replayed; Unavailable if a store is
/// away.
pub async fn rebuild_latest(
    offline: &FeaturesStore,
    online: &dyn OnlineStore,
    table: &Arc<FeatureTable>,
    mut progress: impl FnMut(Rebuilt) + Send,
) -> Result<Rebuilt, StoreError> {
    if table.online != OnlineLayout::Latest {
        return Err(StoreError::broken_rule(format!("`{}` is rebuilt task by task", table.name)));
    }
    online.ensure(table).await?;
    online.truncate(table).await?;
    let mut done = Rebuilt::default();
    let files = offline.files(table)?;
    // Rows of this layout carry their event time: any order and any fence will do.
    let replays = files.map(|file| async move { publish_online(offline, online, &file?, Fence::default()).await });
    let mut replays = replays.buffer_unordered(REPLAYS);
    let mut broken = None;
    while let Some(replayed) = replays.next().await {
        match replayed {
            Ok(replayed) => done.add(replayed),
            // The table is empty by now: what the other files hold should be found in it.
            Err(error) if error.kind() == ErrorKind::Failed => {
                tracing::error!(error = chain(&error), "a file is left out");
                broken.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        progress(done);
    }
    broken.map_or(Ok(done), Err)
}
