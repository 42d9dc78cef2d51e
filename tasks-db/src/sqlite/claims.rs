//! The trait that workers call, each call named for the error it may end in.

use async_trait::async_trait;
use neartime_model::{FeatureName, FeatureVersion, Instant, SourceName, Span};

use super::SqliteTasks;
use super::fault::doing;
use super::records::text_list;
use crate::{Claim, ClaimRequest, Claims, Ended, Lease, Parking, ReadSummary, Result, RunOutcome, TaskId};

const NEXT_DUE: &str = include_str!("../../queries/sqlite/next_due.sql");

#[async_trait]
impl Claims for SqliteTasks {
    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>> {
        self.find_claim(request).await.map_err(doing("claim a task"))
    }

    async fn hold(&self, task: TaskId, worker: &str, lease: Span) -> Result<Option<Claim>> {
        self.try_hold(task, worker, lease).await.map_err(doing("hold a task"))
    }

    async fn refresh(&self, lease: &Lease, features: &[(FeatureName, FeatureVersion)]) -> Result<Claim> {
        self.try_refresh(lease, features).await.map_err(doing("read a claim's input again"))
    }

    async fn start_run(&self, lease: &Lease, feature: &FeatureName) -> Result<()> {
        self.try_start_run(lease, feature).await.map_err(doing("write that a run begins"))
    }

    async fn finish_run(&self, lease: &Lease, outcome: &RunOutcome) -> Result<()> {
        self.try_finish_run(lease, outcome).await.map_err(doing("write how a run ended"))
    }

    async fn complete(&self, lease: &Lease, outcomes: &[RunOutcome], read: Option<&ReadSummary>) -> Result<Ended> {
        self.try_complete(lease, outcomes, read).await.map_err(doing("complete a task"))
    }

    async fn release(&self, lease: &Lease, delay: Span, note: &str) -> Result<()> {
        self.try_release(lease, delay, note).await.map_err(doing("release a task"))
    }

    async fn abandon(&self, lease: &Lease, note: &str) -> Result<()> {
        self.try_abandon(lease, note).await.map_err(doing("abandon a task"))
    }

    async fn park(&self, lease: &Lease, parking: &Parking) -> Result<Ended> {
        self.try_park(lease, parking).await.map_err(doing("park a task"))
    }

    async fn next_due_at(&self, sources: &[SourceName]) -> Result<Option<Instant>> {
        let ask = async {
            let sources = text_list(sources.iter().map(SourceName::as_str));
            let due: Option<i64> = sqlx::query_scalar(NEXT_DUE).bind(sources).fetch_one(&self.readers).await?;
            Ok(due.map(Instant::from_micros))
        };
        ask.await.map_err(doing("ask what is due next"))
    }
}
