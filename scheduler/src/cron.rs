//! Jobs on a schedule: leased, fenced rows of the task database, so that a fleet runs each of them once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use neartime_model::{Fence, Instant, chain};
use neartime_tasks_db::{CronDeclaration, CronEnd, CronLease, CronRequest, TasksError};
use tokio::task::JoinSet;

use crate::compute::panic_text;
use crate::edges::{Edges, Settings};
use crate::heartbeat::Heartbeats;

/// Something that runs on a schedule.
#[async_trait]
pub trait Job: Send + Sync {
    /// Does the job. What it publishes must show `fence`, so that a run that was overtaken replaces nothing newer.
    async fn run(&self, fence: Fence) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// A job and when it runs.
#[derive(Clone)]
pub struct CronJob {
    name: String,
    text: String,
    schedule: cron::Schedule,
    job: Arc<dyn Job>,
}

impl fmt::Debug for CronJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CronJob").field("name", &self.name).field("schedule", &self.text).finish_non_exhaustive()
    }
}

impl CronJob {
    /// Takes a cron expression with seconds, UTC.
    ///
    /// # Errors
    /// The `cron` crate's own, for an expression that it cannot read.
    pub fn new(name: impl Into<String>, schedule: &str, job: Arc<dyn Job>) -> Result<Self, cron::error::Error> {
        Ok(Self { name: name.into(), text: schedule.to_owned(), schedule: cron::Schedule::from_str(schedule)?, job })
    }

    /// The first instant of the schedule after `now`; runs that were missed before it are not made up for.
    fn next_after(&self, now: Instant) -> Instant {
        let after = now.to_utc().and_then(|now| self.schedule.after(&now).next());
        // A schedule with years may have no next instant.
        after.map_or(Instant::from_micros(i64::MAX), |next| Instant::from_micros(next.timestamp_micros()))
    }
}

/// The jobs of one process.
pub(crate) struct Cron<'a> {
    pub(crate) edges: &'a Edges,
    pub(crate) settings: &'a Settings,
    pub(crate) heartbeats: &'a Heartbeats,
}

impl Cron<'_> {
    /// Makes the rows of new jobs, due at the next instant of their schedules.
    pub(crate) async fn declare(&self) -> Result<(), TasksError> {
        let now = self.edges.tasks.now().await?;
        for job in &self.edges.jobs {
            let declaration =
                CronDeclaration { name: job.name.clone(), schedule: job.text.clone(), next_at: job.next_after(now) };
            self.edges.tasks.ensure_cron(&declaration).await?;
        }
        Ok(())
    }

    /// Runs the jobs that are due, one after another.
    pub(crate) async fn run_due(&self) -> Result<(), TasksError> {
        let request = CronRequest {
            names: self.edges.jobs.iter().map(|job| job.name.clone()).collect(),
            worker: self.settings.worker.clone(),
            lease: self.settings.lease,
        };
        loop {
            let asked_at = std::time::Instant::now();
            let Some(lease) = self.edges.tasks.claim_cron(&request).await? else { return Ok(()) };
            let job = self.edges.jobs.iter().find(|job| job.name == lease.name);
            self.run(job.expect("only these names were asked for"), &lease, asked_at).await?;
        }
    }

    async fn run(&self, job: &CronJob, lease: &CronLease, asked_at: std::time::Instant) -> Result<(), TasksError> {
        let mut hold = self.heartbeats.hold_cron(lease, asked_at);
        tracing::info!(job = job.name, due_at = %lease.due_at, "a job starts");
        // On a task of its own: a job that panics takes nothing with it. Dropping the set stops the job.
        let mut running = JoinSet::new();
        let (work, fence) = (Arc::clone(&job.job), lease.fence);
        running.spawn(async move { work.run(fence).await.err().map(|error| chain(error.as_ref())) });
        let error = tokio::select! {
            ran = running.join_next() => match ran.expect("it was spawned") {
                Ok(error) => error,
                Err(died) => Some(format!("it panicked: {}", panic_text(died))),
            },
            lost = hold.lost() => {
                tracing::warn!(job = job.name, ?lost, "a job stops: its lease is lost or may be");
                return Ok(());
            }
        };
        match &error {
            Some(error) => tracing::error!(job = job.name, error, "a job failed; it runs again when it is due next"),
            None => tracing::info!(job = job.name, "a job ended"),
        }
        let next_at = job.next_after(self.edges.tasks.now().await?);
        match self.edges.tasks.finish_cron(lease, &CronEnd { next_at, error }).await {
            Err(lost) if lost.is_lease_lost() => Ok(()),
            finished => finished,
        }
    }
}

#[cfg(test)]
mod tests;
