//! Removing raw files that were made from a stream and never registered: their worker died in between.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use neartime_ingest::reservoir::{Ledger, Reservoir, sweep};
use neartime_model::{Classified, FileKey, SourceName, chain};
use neartime_tasks_db::TasksDb;
use tokio::sync::{Notify, watch};

use crate::daemon::{Scheduler, Stop, is_stopping, rest};
use crate::edges::{Carries, StreamWork};

/// How long after the start the first sweep comes: a process that restarts again and again must not list all the time.
const FIRST: Duration = Duration::from_secs(10 * 60);
/// How often the reservoirs are swept.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl Scheduler {
    /// Sweeps the reservoir of a stream of events once a day, until the process stops.
    pub(crate) async fn sweep_until(&self, stream: &StreamWork, stopping: watch::Receiver<Stop>) {
        let Carries::Events(reservoir) = &stream.carries else { return };
        let mut wait = FIRST;
        loop {
            rest(wait, &stopping, &Notify::new()).await;
            if is_stopping(&stopping) {
                return;
            }
            self.sweep(&stream.source, reservoir).await;
            wait = INTERVAL;
        }
    }

    async fn sweep(&self, source: &SourceName, reservoir: &Reservoir) {
        let ledger = RegisteredFiles::new(Arc::clone(&self.edges.tasks), source.clone());
        match sweep(reservoir, self.edges.clock.now(), &ledger).await {
            Ok(swept) => tracing::info!(%source, old = swept.old, removed = swept.removed, "a reservoir was swept"),
            Err(error) => {
                tracing::warn!(%source, error = chain(&error), "a reservoir could not be swept; it is tried tomorrow");
            }
        }
    }
}

/// What the task database knows of a source's files.
#[derive(Debug)]
pub struct RegisteredFiles {
    tasks: Arc<dyn TasksDb>,
    source: SourceName,
}

impl RegisteredFiles {
    /// Asks `tasks` about files of `source`.
    pub fn new(tasks: Arc<dyn TasksDb>, source: SourceName) -> Self {
        Self { tasks, source }
    }
}

#[async_trait]
impl Ledger for RegisteredFiles {
    async fn never_registered(&self, keys: &[FileKey]) -> Result<Vec<FileKey>, Classified> {
        self.tasks.unregistered(&self.source, keys).await.map_err(Classified::new)
    }
}
