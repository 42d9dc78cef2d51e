//! Cron jobs: one row each, leased and fenced.

use async_trait::async_trait;
use neartime_model::{Fence, Instant};
use sqlx::FromRow;

use super::Tasks;
use super::fault::Step;
use super::records::{instant, stored_text, text_list};
use super::session::{Statement, statement};
use crate::{CronDeclaration, CronEnd, CronJobs, CronLease, CronRequest, CronRow, Result, TasksError};

const CRON_ENSURE: Statement = statement!("cron_ensure");
const CRON_CLAIM: Statement = statement!("cron_claim");
const CRON_FINISH: Statement = statement!("cron_finish");
const CRON_LIST: Statement = statement!("cron_list");

#[async_trait]
impl CronJobs for Tasks {
    async fn ensure_cron(&self, job: &CronDeclaration) -> Result<()> {
        let ensure = async || {
            let mut write = self.write().await?;
            let query = CRON_ENSURE.bind(job.name.as_str()).bind(job.schedule.as_str()).bind(job.next_at.as_micros());
            query.run(write.conn()).await?;
            write.commit().await
        };
        self.again("declare a cron job", ensure).await
    }

    async fn claim_cron(&self, request: &CronRequest) -> Result<Option<CronLease>> {
        self.once("claim a cron job", || self.try_claim_cron(request)).await
    }

    async fn finish_cron(&self, lease: &CronLease, end: &CronEnd) -> Result<()> {
        self.once("end a cron job", || self.try_finish_cron(lease, end)).await
    }

    async fn cron_jobs(&self) -> Result<Vec<CronRow>> {
        let list = async || {
            let rows: Vec<CronRecord> = CRON_LIST.call().all(self.read().await?.session()).await?;
            Ok(rows.into_iter().map(CronRecord::decode).collect())
        };
        self.again("list the cron jobs", list).await
    }
}

impl Tasks {
    async fn try_claim_cron(&self, request: &CronRequest) -> Step<Option<CronLease>> {
        if request.names.is_empty() {
            return Ok(None);
        }
        let mut write = self.write().await?;
        let until = (write.now + request.lease).as_micros();
        let query = CRON_CLAIM.bind(text_list(request.names.iter().map(String::as_str)));
        let query = query.bind(write.now_micros()).bind(until).bind(stored_text(&request.worker));
        let row: Option<(String, i64, i64)> = query.optional(write.conn()).await?;
        write.commit().await?;
        Ok(row.map(|(name, fence, due)| CronLease { name, fence: Fence(fence), due_at: Instant::from_micros(due) }))
    }

    async fn try_finish_cron(&self, lease: &CronLease, end: &CronEnd) -> Step<()> {
        let mut write = self.write().await?;
        let query = CRON_FINISH.bind(lease.name.as_str()).bind(lease.fence.0).bind(end.next_at.as_micros());
        let query = query.bind(end.error.as_deref().map(stored_text)).bind(write.now_micros());
        if !query.any(write.conn()).await? {
            return Err(TasksError::CronLeaseLost { name: lease.name.clone() }.into());
        }
        write.commit().await
    }
}

#[derive(FromRow)]
struct CronRecord {
    name: String,
    schedule: String,
    next_at: i64,
    lease: Option<i64>,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    last_error: Option<String>,
}

impl CronRecord {
    fn decode(self) -> CronRow {
        CronRow {
            name: self.name,
            schedule: self.schedule,
            next_at: Instant::from_micros(self.next_at),
            lease: instant(self.lease),
            started_at: instant(self.started_at),
            ended_at: instant(self.ended_at),
            last_error: self.last_error,
        }
    }
}
