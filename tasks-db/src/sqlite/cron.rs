//! Cron jobs: one row each, leased and fenced.

use async_trait::async_trait;
use neartime_model::{Fence, Instant};
use sqlx::FromRow;

use super::SqliteTasks;
use super::fault::{Fault, Step, doing};
use super::records::{instant, stored_text, text_list};
use crate::{CronDeclaration, CronEnd, CronJobs, CronLease, CronRequest, CronRow, Result, TasksError};

const CRON_ENSURE: &str = include_str!("../../queries/sqlite/cron_ensure.sql");
const CRON_CLAIM: &str = include_str!("../../queries/sqlite/cron_claim.sql");
const CRON_FINISH: &str = include_str!("../../queries/sqlite/cron_finish.sql");
const CRON_LIST: &str = include_str!("../../queries/sqlite/cron_list.sql");

#[async_trait]
impl CronJobs for SqliteTasks {
    async fn ensure_cron(&self, job: &CronDeclaration) -> Result<()> {
        let ensure = async {
            let mut write = self.write().await?;
            let query = sqlx::query(CRON_ENSURE).bind(&job.name).bind(&job.schedule).bind(job.next_at.as_micros());
            query.execute(write.conn()).await?;
            write.commit().await
        };
        ensure.await.map_err(doing("declare a cron job"))
    }

    async fn claim_cron(&self, request: &CronRequest) -> Result<Option<CronLease>> {
        self.try_claim_cron(request).await.map_err(doing("claim a cron job"))
    }

    async fn finish_cron(&self, lease: &CronLease, end: &CronEnd) -> Result<()> {
        self.try_finish_cron(lease, end).await.map_err(doing("end a cron job"))
    }

    async fn cron_jobs(&self) -> Result<Vec<CronRow>> {
        let rows = sqlx::query_as(CRON_LIST).fetch_all(&self.readers).await;
        let rows: Vec<CronRecord> = rows.map_err(Fault::from).map_err(doing("list the cron jobs"))?;
        Ok(rows.into_iter().map(CronRecord::decode).collect())
    }
}

impl SqliteTasks {
    async fn try_claim_cron(&self, request: &CronRequest) -> Step<Option<CronLease>> {
        if request.names.is_empty() {
            return Ok(None);
        }
        let mut write = self.write().await?;
        let until = (write.now + request.lease).as_micros();
        let query = sqlx::query_as(CRON_CLAIM).bind(text_list(request.names.iter().map(String::as_str)));
        let query = query.bind(write.now_micros()).bind(until).bind(stored_text(&request.worker));
        let row: Option<(String, i64, i64)> = query.fetch_optional(write.conn()).await?;
        write.commit().await?;
        Ok(row.map(|(name, fence, due)| CronLease { name, fence: Fence(fence), due_at: Instant::from_micros(due) }))
    }

    async fn try_finish_cron(&self, lease: &CronLease, end: &CronEnd) -> Step<()> {
        let mut write = self.write().await?;
        let query = sqlx::query(CRON_FINISH).bind(&lease.name).bind(lease.fence.0).bind(end.next_at.as_micros());
        let query = query.bind(end.error.as_deref().map(stored_text)).bind(write.now_micros());
        if query.fetch_optional(write.conn()).await?.is_none() {
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
