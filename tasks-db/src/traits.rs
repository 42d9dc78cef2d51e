//! What a task database must be able to do, cut into the parts that different people use.

use std::fmt;

use async_trait::async_trait;
use neartime_model::{Clock, FeatureName, FeatureVersion, FileKey, Instant, SourceName, Span};

use crate::{
    BackfillRequest, Checkpoint, Claim, ClaimRequest, ColumnDeclaration, CronDeclaration, CronEnd, CronLease,
    CronRequest, CronRow, Ended, FeatureDeclaration, FeatureStanding, InitialPosition, KnownFeature, Lease, Parking,
    Pulse, QuarantineQuery, QuarantineRow, ReadSummary, Registered, Registration, Result, RetryRequest, RunOutcome,
    ShardClaim, ShardDeclaration, ShardId, ShardLease, ShardRequest, ShardRow, SourceDeclaration, StreamId, TaskDetail,
    TaskId, TaskQuery, TaskRow, TasksError, WorkerSource,
};

/// The whole task database: what the scheduler and the command line hold.
#[async_trait]
pub trait TasksDb: Intake + Claims + Operate + Look + CronJobs + Streams + fmt::Debug {
    /// The database's present instant, the only clock that decides what is due or expired.
    async fn now(&self) -> Result<Instant>;

    /// A way to open a connection for heartbeats alone, on another thread and runtime.
    fn hearts(&self) -> Box<dyn HeartSource>;

    /// Ends the background work of the connections and closes them.
    async fn close(&self);
}

/// How far the database's clock is ahead of this machine's (negative: behind). Fails with
/// [`ClockApart`](crate::TasksError::ClockApart) if that is more than [`MAX_CLOCKS_APART`] either way.
pub async fn check_clock(db: &dyn TasksDb, clock: &dyn Clock) -> Result<Span> {
    let before = clock.now();
    let there = db.now().await?;
    // The answer was true at some moment in between; a slow network is no wrong clock.
    let apart = if there < before { there - before } else { (there - clock.now()).max(Span::ZERO) };
    let most = MAX_CLOCKS_APART.as_micros();
    if (-most..=most).contains(&apart.as_micros()) { Ok(apart) } else { Err(TasksError::ClockApart { apart }) }
}

/// How far a machine's clock may be from the database's.
pub const MAX_CLOCKS_APART: Span = Span::from_secs(60);

/// Declaring sources and features, and registering files.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Remembers sources; a width or layout that differs from that of a source with tasks is refused, and then none
    /// is remembered.
    async fn declare_sources(&self, sources: &[SourceDeclaration]) -> Result<()>;

    /// Remembers features and when each version was first seen. Refused, and then none is remembered: a changed
    /// definition under an unchanged version; other keys, another engine or another type of a column under the same
    /// name. A lower version than known is no error, only shown.
    async fn declare_features(&self, features: &[FeatureDeclaration]) -> Result<Vec<KnownFeature>>;

    /// Makes the same checks as the two calls above, and remembers nothing.
    async fn check(&self, sources: &[SourceDeclaration], features: &[FeatureDeclaration]) -> Result<()>;

    /// Registers files in one transaction. A version that is already its key's newest changes nothing; any other
    /// becomes the newest, raises the generation and makes the task due again.
    async fn register(&self, registration: &Registration) -> Result<Registered>;

    /// Arms runs on the tasks that completed after a feature's version was first seen without running it (an older
    /// binary completed them); gives the number of tasks. Looks at each completed task once, so that it may be called in
    /// every pass.
    async fn arm_missing_runs(&self, source: &WorkerSource) -> Result<u64>;

    /// Which of these keys of a source were never registered, in the order given: for sweeping what a worker wrote and
    /// did not live to register.
    async fn unregistered(&self, source: &SourceName, keys: &[FileKey]) -> Result<Vec<FileKey>>;
}

/// Taking due tasks and ending what was taken.
///
/// **Invariant:** every call that takes a [`Lease`] changes nothing and fails with
/// [`LeaseLost`](crate::TasksError::LeaseLost) unless the task is running under exactly that fence.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Takes a due task, or one whose lease ran out: of the (source, path) pairs with due work the one served longest
    /// ago, then its oldest chunk, and every fourth time that of its backfill. `None` where nothing is due.
    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>>;

    /// Takes this very task, due or not, unless another claim holds it (`None`). The claim has no runs to do: it is
    /// for writing again what is published already. End it with [`complete`](Self::complete).
    async fn hold(&self, task: TaskId, worker: &str, lease: Span) -> Result<Option<Claim>>;

    /// Reads the input and the runs to do again, at the present generation, under the same fence.
    async fn refresh(&self, lease: &Lease, features: &[(FeatureName, FeatureVersion)]) -> Result<Claim>;

    /// Writes that a run is about to begin, so that a claim that dies under it can be told from its neighbours.
    async fn start_run(&self, lease: &Lease, feature: &FeatureName) -> Result<()>;

    /// Writes how one run ended, before the claim ends.
    async fn finish_run(&self, lease: &Lease, outcome: &RunOutcome) -> Result<()>;

    /// Ends the claim with a verdict on each run that [`finish_run`](Self::finish_run) has not written yet. `read` replaces the task's quarantine; `None` leaves it (nothing
    /// was read). Where the generation moved meanwhile, or a run has tries left, the task waits again. Safe to repeat
    /// after an unknown outcome.
    async fn complete(&self, lease: &Lease, outcomes: &[RunOutcome], read: Option<&ReadSummary>) -> Result<Ended>;

    /// Gives the task back without a verdict and at no cost: a service is away, or the worker stops. It is due again
    /// after `delay`.
    async fn release(&self, lease: &Lease, delay: Span, note: &str) -> Result<()>;

    /// Ends the claim without a verdict and counts it as such (past the hard deadline), as if its lease had run out.
    async fn abandon(&self, lease: &Lease, note: &str) -> Result<()>;

    /// Parks the task because its input cannot be read; where the generation moved meanwhile it waits instead.
    async fn park(&self, lease: &Lease, parking: &Parking) -> Result<Ended>;

    /// The next instant at which a claim on one of the sources can succeed, lease ends included; `None` where nothing
    /// waits or runs.
    async fn next_due_at(&self, sources: &[SourceName]) -> Result<Option<Instant>>;
}

/// What an operator orders.
#[async_trait]
pub trait Operate: Send + Sync {
    /// Arms again what is parked or failing, attempts back to 0; gives the number of tasks. Raises the generation of
    /// those with missing or quarantined files.
    async fn retry(&self, request: &RetryRequest) -> Result<u64>;

    /// Arms a feature's runs on old tasks, in the second lane, without raising a generation; gives the number of
    /// tasks.
    async fn backfill(&self, request: &BackfillRequest) -> Result<u64>;
}

/// Reading the task table.
#[async_trait]
pub trait Look: Send + Sync {
    /// A page of tasks, oldest chunk first.
    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRow>>;

    /// Everything about one task; `None` where there is no such task.
    async fn task(&self, task: TaskId) -> Result<Option<TaskDetail>>;

    /// How each feature that was ever declared stands, sorted by name.
    async fn features(&self) -> Result<Vec<FeatureStanding>>;

    /// The columns of every version of every feature that was ever declared, a feature's newest first.
    async fn declared_columns(&self) -> Result<Vec<(FeatureName, Vec<ColumnDeclaration>)>>;

    /// What is unfinished and how far each feature is: cheap enough to ask every few seconds, whatever is done already.
    async fn pulse(&self) -> Result<Pulse>;

    /// A page of quarantine entries, by task.
    async fn quarantine(&self, query: &QuarantineQuery) -> Result<Vec<QuarantineRow>>;
}

/// Jobs on a schedule, once for a fleet.
#[async_trait]
pub trait CronJobs: Send + Sync {
    /// Makes the job if it is new; a changed schedule takes the declared `next_at`, an unchanged one keeps its own.
    async fn ensure_cron(&self, job: &CronDeclaration) -> Result<()>;

    /// Takes a due job, or one whose lease ran out; `None` where nothing is due.
    async fn claim_cron(&self, request: &CronRequest) -> Result<Option<CronLease>>;

    /// Ends a run of the job and says when it is due next.
    async fn finish_cron(&self, lease: &CronLease, end: &CronEnd) -> Result<()>;

    /// All jobs, sorted by name.
    async fn cron_jobs(&self) -> Result<Vec<CronRow>>;
}

/// Reading streams: each shard by one worker at a time, parents before children.
///
/// **Invariant:** every call that takes a [`ShardLease`] changes nothing and fails with
/// [`ShardLeaseLost`](crate::TasksError::ShardLeaseLost) unless the shard is claimed under exactly that fence.
#[async_trait]
pub trait Streams: Send + Sync {
    /// Remembers shards that are new; gives their names. Those of a stream that was never declared begin at `initial`,
    /// later ones at their oldest record, whatever `initial` says: what arrived in them before they were seen is news.
    async fn declare_shards(
        &self,
        stream: &StreamId,
        shards: &[ShardDeclaration],
        initial: InitialPosition,
    ) -> Result<Vec<ShardId>>;

    /// Takes a shard that nobody reads, or whose lease ran out, once each of its parents is finished or forgotten. If
    /// there is none, takes one away from the worker that has most, provided that this evens them out. `None` where
    /// there is nothing to take, or the worker has all that it may.
    async fn claim_shard(&self, request: &ShardRequest) -> Result<Option<ShardClaim>>;

    /// Writes how far a shard was read and registers what came out of it, both or neither. Safe to repeat after an
    /// unknown outcome.
    async fn checkpoint(
        &self,
        lease: &ShardLease,
        checkpoint: &Checkpoint,
        registration: Option<&Registration>,
    ) -> Result<Registered>;

    /// Writes that a shard was read to its end, and registers the last of it, both or neither. Its children can be
    /// claimed then. Safe to repeat after an unknown outcome.
    async fn finish_shard(&self, lease: &ShardLease, registration: Option<&Registration>) -> Result<Registered>;

    /// Gives a shard back, for anybody to take at once.
    async fn release_shard(&self, lease: &ShardLease) -> Result<()>;

    /// Forgets the shards of a stream that are not among `present`, all that it listed when it was asked at `listed_at`
    /// (by this database's clock; shards declared later stay). Gives them as they stood: one that was not finished has
    /// lost its unread rest to the stream's retention.
    async fn forget_shards(&self, stream: &StreamId, present: &[ShardId], listed_at: Instant) -> Result<Vec<ShardRow>>;

    /// Every shard of every stream, sorted by source, stream and name.
    async fn shards(&self) -> Result<Vec<ShardRow>>;
}

/// Opens connections for heartbeats. It can be moved to the thread that beats, whose runtime then owns the connection.
#[async_trait]
pub trait HeartSource: Send + Sync {
    /// Opens a connection of its own, so that no work can starve it.
    async fn open(&self) -> Result<Box<dyn Heart>>;
}

/// Keeps claims alive.
#[async_trait]
pub trait Heart: Send {
    /// Extends the leases to `extend` from now; gives those that are lost.
    async fn beat(&mut self, leases: &[Lease], extend: Span) -> Result<Vec<Lease>>;

    /// Extends the leases on shards to `extend` from now; gives those that are lost.
    async fn beat_shards(&mut self, leases: &[ShardLease], extend: Span) -> Result<Vec<ShardLease>>;

    /// Extends a cron job's lease to `extend` from now; fails where it is lost.
    async fn beat_cron(&mut self, lease: &CronLease, extend: Span) -> Result<()>;
}
