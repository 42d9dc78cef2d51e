//! Rebuilding an online table from Parquet, which is the truth.
//!
//! A last action time is emptied and replayed file by file. The rows of the other engines are written again task by
//! task, each at the fence of a claim of its own, so that no worker's newer rows can be overwritten.

use std::sync::Arc;
use std::time::Duration;

use neartime_engine::{CompiledFeature, OnlineLayout};
use neartime_model::{Classify, ErrorKind};
use neartime_stores::{OnlinePublished, OnlineStore, Rebuilt, StoreError, publish_online, rebuild_latest};
use neartime_tasks_db::{Claim, TaskId, TaskQuery, TasksError};

use crate::compute::partition_file;
use crate::daemon::Scheduler;
use crate::home::Home;
use crate::task::path_captures;

/// Tasks asked for at a time.
const PAGE: u32 = 500;
/// How long to wait for a task that somebody else works on.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a rebuild broke off.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task database.
    #[error(transparent)]
    Tasks(#[from] TasksError),
}

impl Classify for RebuildError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Tasks(error) => error.kind(),
        }
    }
}

impl Scheduler {
    /// Replays every published file of `feature` into `online`; calls `progress` after each.
    ///
    /// # Errors
    /// A store or the task database that is away or refuses.
    pub async fn rebuild(
        &self,
        feature: &CompiledFeature,
        online: &Arc<dyn OnlineStore>,
        mut progress: impl FnMut(Rebuilt) + Send,
    ) -> Result<Rebuilt, RebuildError> {
        if feature.table().online == OnlineLayout::Latest {
            return Ok(rebuild_latest(&self.edges.offline, online.as_ref(), feature.table(), progress).await?);
        }
        online.ensure(feature.table()).await?;
        let mut done = Rebuilt::default();
        let source = Some(feature.table().source.clone());
        let mut query = TaskQuery { source, limit: PAGE, ..TaskQuery::default() };
        loop {
            let page = self.edges.tasks.tasks(&query).await?;
            for task in &page {
                done.add(self.rewrite(feature, online, task.task).await?);
                progress(done);
            }
            match page.last() {
                Some(last) => query.after = Some(last.cursor()),
                None => return Ok(done),
            }
        }
    }

    /// Writes one task's published rows again, at the fence of a claim made for it.
    async fn rewrite(
        &self,
        feature: &CompiledFeature,
        online: &Arc<dyn OnlineStore>,
        task: TaskId,
    ) -> Result<Option<OnlinePublished>, RebuildError> {
        loop {
            let asked_at = std::time::Instant::now();
            let Some(claim) = self.edges.tasks.hold(task, &self.settings.worker, self.settings.lease).await? else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let mut hold = self.heartbeats.hold(claim.lease, asked_at);
            let written = tokio::select! {
                written = self.write_again(feature, online, &claim) => written,
                _ = hold.lost() => continue,
            };
            // Given back before an error is told: the task was nobody's business but ours.
            let released = self.edges.tasks.complete(&claim.lease, &[], None).await;
            let written = written?;
            match released {
                Err(error) if error.is_lease_lost() => {}
                released => {
                    released?;
                    return Ok(written);
                }
            }
        }
    }

    async fn write_again(
        &self,
        feature: &CompiledFeature,
        online: &Arc<dyn OnlineStore>,
        claim: &Claim,
    ) -> Result<Option<OnlinePublished>, RebuildError> {
        let Some(source) = self.edges.source(&claim.source) else { return Ok(None) };
        let captures = path_captures(&Home::here(&self.edges.tasks), &source.source, claim).await?;
        let file = partition_file(&source.source, feature, claim, &captures);
        Ok(publish_online(&self.edges.offline, online.as_ref(), &file, claim.lease.fence).await?)
    }
}
