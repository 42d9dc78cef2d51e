//! The trait that workers call, each call named for the error it may end in.

use async_trait::async_trait;
use neartime_model::{FeatureName, FeatureVersion, Instant, SourceName, Span};

use super::Tasks;
use super::records::text_list;
use super::session::{Statement, statement};
use crate::{Claim, ClaimRequest, Claims, Ended, Lease, Parking, ReadSummary, Result, RunOutcome, TaskId};

const NEXT_DUE: Statement = statement!("next_due");

#[async_trait]
impl Claims for Tasks {
    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>> {
        self.once("claim a task", || self.find_claim(request)).await
    }

    async fn hold(&self, task: TaskId, worker: &str, lease: Span) -> Result<Option<Claim>> {
        self.once("hold a task", || self.try_hold(task, worker, lease)).await
    }

    async fn refresh(&self, lease: &Lease, features: &[(FeatureName, FeatureVersion)]) -> Result<Claim> {
        self.once("read a claim's input again", || self.try_refresh(lease, features)).await
    }

    async fn start_run(&self, lease: &Lease, feature: &FeatureName) -> Result<()> {
        self.once("write that a run begins", || self.try_start_run(lease, feature)).await
    }

    async fn finish_run(&self, lease: &Lease, outcome: &RunOutcome) -> Result<()> {
        self.once("write how a run ended", || self.try_finish_run(lease, outcome)).await
    }

    async fn complete(&self, lease: &Lease, outcomes: &[RunOutcome], read: Option<&ReadSummary>) -> Result<Ended> {
        self.again("complete a task", || self.try_complete(lease, outcomes, read)).await
    }

    async fn release(&self, lease: &Lease, delay: Span, note: &str) -> Result<()> {
        self.once("release a task", || self.try_release(lease, delay, note)).await
    }

    async fn abandon(&self, lease: &Lease, note: &str) -> Result<()> {
        self.once("abandon a task", || self.try_abandon(lease, note)).await
    }

    async fn park(&self, lease: &Lease, parking: &Parking) -> Result<Ended> {
        self.once("park a task", || self.try_park(lease, parking)).await
    }

    async fn next_due_at(&self, sources: &[SourceName]) -> Result<Option<Instant>> {
        let ask = async || {
            let sources = text_list(sources.iter().map(SourceName::as_str));
            let (due,): (Option<i64>,) = NEXT_DUE.bind(sources).one(self.read().await?.session()).await?;
            Ok(due.map(Instant::from_micros))
        };
        self.again("ask what is due next", ask).await
    }
}
