//! Cron jobs: rows that are leased and fenced, so that a fleet runs each job once.

use neartime_model::{Fence, Instant, Span};

/// A cron job as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronDeclaration {
    /// Its name.
    pub name: String,
    /// Its schedule as written; a changed text moves the job to `next_at`.
    pub schedule: String,
    /// When it is due first.
    pub next_at: Instant,
}

/// The right to run a cron job, until another process gets a higher fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronLease {
    /// The job.
    pub name: String,
    /// The claim's fence.
    pub fence: Fence,
    /// When it was due; runs missed while nothing was up are made up for by one.
    pub due_at: Instant,
}

/// How a cron job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronEnd {
    /// When it is due next.
    pub next_at: Instant,
    /// What went wrong; null if nothing did.
    pub error: Option<String>,
}

/// What asks for a due cron job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronRequest {
    /// The jobs that this process can run.
    pub names: Vec<String>,
    /// The process's name, for people only.
    pub worker: String,
    /// How long the claim is held without a heartbeat.
    pub lease: Span,
}

/// A cron job as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronRow {
    /// Its name.
    pub name: String,
    /// Its schedule as written.
    pub schedule: String,
    /// When it is due next.
    pub next_at: Instant,
    /// When its lease ends; null unless it runs.
    pub lease: Option<Instant>,
    /// When it last started.
    pub started_at: Option<Instant>,
    /// When it last ended.
    pub ended_at: Option<Instant>,
    /// What went wrong last; null if nothing did.
    pub last_error: Option<String>,
}
