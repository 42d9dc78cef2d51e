//! Taking due tasks.

use neartime_model::{FeatureName, FeatureVersion, Fence, Generation, Instant, Span};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::FromRow;

use super::fault::{Step, damaged};
use super::records::{
    InputFileRecord, chunk, feature_name, lane, number_list, small_count, source_name, stored_text, text_list,
};
use super::session::{Statement, statement};
use super::{Backend, Tasks, Write};
use crate::{
    Claim, ClaimRequest, ISOLATE_AFTER_CLAIMS, InputFile, Lane, Lease, MAX_CLAIMS_UNDER_RUN,
    MAX_CLAIMS_WITHOUT_VERDICT, Result, RunToDo, TaskId, TasksError, WorkerSource,
};

const CLAIM_PATH: Statement = statement!("claim_path");
const CLAIM_TASK: Statement = statement!("claim_task");
const CLAIM_TAKE: Statement = statement!("claim_take");
const CLAIM_SERVED: Statement = statement!("claim_served");
const CLAIM_EXHAUSTED: Statement = statement!("claim_exhausted");
const CLAIM_POSTPONED: Statement = statement!("claim_postponed");
const CLAIM_READ: Statement = statement!("claim_read");
const CLAIM_FILES: Statement = statement!("claim_files");
const CLAIM_RUNS: Statement = statement!("claim_runs");
const NEXT_TURN: Statement = statement!("next_turn");
const BLAME_RUNS: Statement = statement!("blame_runs");
const BLAME_CLEARED: Statement = statement!("task_blame_cleared");
const HOLD_TAKE: Statement = statement!("hold_take");
const REFRESH: Statement = statement!("refresh");

/// Every so many claims of a path, the backfill goes first.
const BACKFILL_TURN: i64 = 4;

/// Tasks that one claim settles on its way (parked, or nothing to do) before it commits and goes on.
const MAX_SETTLED: usize = 100;

/// A fence may be this far ahead of the machine's clock; beyond, one of the clocks is wrong.
pub(super) const MAX_FENCE_AHEAD: Span = Span::from_secs(60);

/// What one transaction of a claim came to.
pub(super) enum Search {
    Found(Box<Claim>),
    Nothing,
    /// It only settled tasks that nobody has to work on, and there may be more.
    More,
}

/// A due task that a claim looks at.
#[derive(FromRow)]
struct Candidate {
    task_id: i64,
    state: String,
    fence: i64,
    claims_without_verdict: i64,
    held_state: Option<String>,
}

impl Tasks {
    pub(super) async fn find_claim(&self, request: &ClaimRequest) -> Step<Option<Claim>> {
        match &self.backend {
            Backend::Sqlite(_) => self.find_in_turn(request).await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(server) => self.race(server, request).await,
        }
    }

    async fn find_in_turn(&self, request: &ClaimRequest) -> Step<Option<Claim>> {
        let able = request.able();
        loop {
            // Idle workers ask often: that is answered without the write lock.
            if !self.has_due(&able).await? {
                return Ok(None);
            }
            match self.try_claim(request, &able).await? {
                Search::Found(claim) => return Ok(Some(*claim)),
                Search::Nothing => return Ok(None),
                Search::More => {}
            }
        }
    }

    async fn has_due(&self, able: &[&WorkerSource]) -> Step<bool> {
        let mut tx = self.read().await?;
        let now = super::now(self.db_clock(), tx.session()).await?.as_micros();
        CLAIM_PATH.bind(names(able)).bind(now).bind("[]").any(tx.session()).await
    }

    /// Goes through the paths in their turn, in one transaction, until a task is taken.
    pub(super) async fn try_claim(&self, request: &ClaimRequest, able: &[&WorkerSource]) -> Step<Search> {
        let mut write = self.write().await?;
        let mut search = Search::More;
        let mut passed_over = Vec::new();
        for _ in 0..MAX_SETTLED {
            let Some((path_id, claims)) = write.next_path(able, &passed_over).await? else {
                search = Search::Nothing;
                break;
            };
            let Some(candidate) = write.oldest_due(path_id, claims).await? else {
                // On Postgres: others are changing what it has due at this moment.
                passed_over.push(path_id);
                continue;
            };
            if let Some(claim) = write.consider(&candidate, request, able).await? {
                self.check_fence(claim.lease.fence)?;
                write.served(path_id).await?;
                search = Search::Found(Box::new(claim));
                break;
            }
        }
        write.commit().await?;
        Ok(search)
    }

    fn check_fence(&self, fence: Fence) -> Result<()> {
        let ahead = Instant::from_micros(fence.0) - self.machine_clock.now();
        if ahead > MAX_FENCE_AHEAD { Err(TasksError::ClockAhead { ahead: to_the_second(ahead) }) } else { Ok(()) }
    }

    pub(super) async fn try_hold(&self, task: TaskId, worker: &str, lease: Span) -> Step<Option<Claim>> {
        let mut write = self.write().await?;
        let until = (write.now + lease).as_micros();
        let take = HOLD_TAKE.bind(task.0).bind(write.now_micros()).bind(until).bind(stored_text(worker));
        let taken: Option<(i64,)> = take.optional(write.conn()).await?;
        let Some((fence,)) = taken else { return Ok(None) };
        let lease = Lease { task, fence: Fence(fence) };
        self.check_fence(lease.fence)?;
        let claim = write.read_claim(lease, Vec::new()).await?;
        write.commit().await?;
        Ok(Some(claim))
    }

    pub(super) async fn try_refresh(&self, lease: &Lease, features: &[(FeatureName, FeatureVersion)]) -> Step<Claim> {
        let mut write = self.write().await?;
        let refresh = REFRESH.bind(lease.task.0).bind(lease.fence.0);
        if !refresh.any(write.conn()).await? {
            return Err(TasksError::LeaseLost { task: lease.task }.into());
        }
        let generation = write.guard(lease).await?.generation;
        let runs = write.take_runs(lease, generation, features).await?;
        let claim = write.read_claim(*lease, runs).await?;
        write.commit().await?;
        Ok(claim)
    }
}

impl Write {
    async fn next_path(&mut self, able: &[&WorkerSource], passed_over: &[i64]) -> Step<Option<(i64, i64)>> {
        let passed_over = number_list(passed_over.iter().copied());
        CLAIM_PATH.bind(names(able)).bind(self.now_micros()).bind(passed_over).optional(self.conn()).await
    }

    /// The oldest due task of a path: of the fresh lane, every fourth time of the backfill; or of the other if that
    /// is empty.
    async fn oldest_due(&mut self, path_id: i64, claims: i64) -> Step<Option<Candidate>> {
        let backfill_first = claims % BACKFILL_TURN == BACKFILL_TURN - 1;
        let lanes = if backfill_first { [Lane::Backfill, Lane::Fresh] } else { [Lane::Fresh, Lane::Backfill] };
        for lane in lanes {
            let query = CLAIM_TASK.bind(path_id).bind(lane.as_str()).bind(self.now_micros());
            if let Some(candidate) = query.optional(self.conn()).await? {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// A task whose last claim was made while the clock was ahead cannot have a higher fence yet: it waits until the time
    /// has come, and the others do not wait for it.
    async fn postpone(&mut self, task: TaskId, ahead: Span) -> Step<()> {
        let until = self.now + ahead - Span::from_micros(MAX_FENCE_AHEAD.as_micros() / 2);
        let ahead = to_the_second(ahead);
        let why = format!("claimed while the clock was ahead by {ahead}: it can be claimed again from {until} on");
        tracing::warn!(%task, why, "a task is put off");
        CLAIM_POSTPONED.bind(task.0).bind(until.as_micros()).bind(why).run(self.conn()).await
    }

    async fn served(&mut self, path_id: i64) -> Step<()> {
        let (turn,): (i64,) = NEXT_TURN.call().one(self.conn()).await?;
        CLAIM_SERVED.bind(path_id).bind(turn).run(self.conn()).await
    }

    /// Takes the task, or settles it and gives `None` if there is nothing for this worker to do.
    async fn consider(
        &mut self,
        candidate: &Candidate,
        request: &ClaimRequest,
        able: &[&WorkerSource],
    ) -> Step<Option<Claim>> {
        let task = TaskId(candidate.task_id);
        let taken_over = candidate.state == "running";
        let mut died = small_count(candidate.claims_without_verdict)?;
        if taken_over && candidate.held_state.is_some() {
            self.end_hold(task).await?;
            return Ok(None);
        }
        let ahead = Instant::from_micros(candidate.fence) - self.now;
        if ahead > MAX_FENCE_AHEAD {
            self.postpone(task, ahead).await?;
            return Ok(None);
        }
        if taken_over && self.blame(task).await? {
            died = 0;
        }
        if died >= MAX_CLAIMS_WITHOUT_VERDICT {
            self.park_exhausted(task, died).await?;
            return Ok(None);
        }
        let lease = self.take(task, request, died).await?;
        let mut claim = self.read_claim(lease, Vec::new()).await?;
        let source = able.iter().find(|source| source.name == claim.source);
        let features = source.map_or(&[][..], |source| &source.features);
        claim.runs = self.take_runs(&lease, claim.generation, features).await?;
        if claim.runs.is_empty() {
            // Its runs ended before their claim did, or those that are left are none of this binary's business.
            self.end_claim(&lease).await?;
            return Ok(None);
        }
        claim.taken_over = taken_over;
        Ok(Some(claim))
    }

    async fn take(&mut self, task: TaskId, request: &ClaimRequest, died: u32) -> Step<Lease> {
        let until = (self.now + request.lease).as_micros();
        let take = CLAIM_TAKE.bind(task.0).bind(self.now_micros()).bind(until);
        let take = take.bind(stored_text(&request.worker)).bind(i64::from(died));
        let (fence,): (i64,) = take.one(self.conn()).await?;
        Ok(Lease { task, fence: Fence(fence) })
    }

    async fn park_exhausted(&mut self, task: TaskId, died: u32) -> Step<()> {
        let error = format!(
            "{died} claims ended without a verdict (killed, out of memory, or past the deadline); \
             find out why, then `neartime tasks retry`"
        );
        CLAIM_EXHAUSTED.bind(task.0).bind(error).run(self.conn()).await
    }

    /// Counts the claim that died against the run that it had begun alone. Gives whether the guilty one is parked now.
    pub(super) async fn blame(&mut self, task: TaskId) -> Step<bool> {
        let error = format!("{MAX_CLAIMS_UNDER_RUN} claims died while it ran alone (killed, out of memory, or hung)");
        let query = BLAME_RUNS.bind(task.0).bind(i64::from(MAX_CLAIMS_UNDER_RUN));
        let states: Vec<(String,)> = query.bind(error).bind(self.now_micros()).all(self.conn()).await?;
        let parked = states.iter().any(|(state,)| state == "parked");
        if parked {
            BLAME_CLEARED.bind(task.0).run(self.conn()).await?;
        }
        Ok(parked)
    }

    /// Makes the runs that the worker knows part of the claim; gives those that it is to do now.
    async fn take_runs(
        &mut self,
        lease: &Lease,
        generation: Generation,
        features: &[(FeatureName, FeatureVersion)],
    ) -> Step<Vec<RunToDo>> {
        let list = features.iter().map(|(name, version)| json!([name.as_str(), version.0]));
        let list = Value::Array(list.collect()).to_string();
        let rows: Vec<RunRecord> = CLAIM_RUNS.bind(lease.task.0).bind(list).bind(generation.0).all(self.conn()).await?;
        runs_to_do(rows, lease.fence, self.now, features)
    }

    async fn read_claim(&mut self, lease: Lease, runs: Vec<RunToDo>) -> Step<Claim> {
        let query = CLAIM_READ.bind(lease.task.0).bind(lease.fence.0);
        let row: ClaimRecord = query.one(self.conn()).await?;
        let query = CLAIM_FILES.bind(lease.task.0);
        let files: Vec<InputFileRecord> = query.all(self.conn()).await?;
        let files = files.into_iter().map(InputFileRecord::decode).collect::<Step<_>>()?;
        row.decode(lease, files, runs)
    }
}

fn to_the_second(span: Span) -> Span {
    Span::from_secs(span.as_micros() / 1_000_000)
}

/// The names of the sources as a statement takes them.
fn names(sources: &[&WorkerSource]) -> String {
    text_list(sources.iter().map(|source| source.name.as_str()))
}

/// Of the runs that a claim could do, those that are due and part of it.
pub(super) fn runs_to_do(
    rows: Vec<RunRecord>,
    fence: Fence,
    now: Instant,
    features: &[(FeatureName, FeatureVersion)],
) -> Step<Vec<RunToDo>> {
    let mut runs = Vec::new();
    for row in rows {
        let is_due = row.state == "waiting" && row.visible_at <= now.as_micros();
        if !is_due || row.fence != fence.0 {
            continue;
        }
        let feature = feature_name(&row.feature)?;
        let version = features.iter().find(|(name, _)| *name == feature).map(|(_, version)| *version);
        let version = version.ok_or_else(|| damaged("a run that was not asked for"))?;
        runs.push(RunToDo { feature, version, attempts: small_count(row.attempts)? });
    }
    runs.sort_by(|a, b| a.feature.cmp(&b.feature));
    Ok(runs)
}

impl ClaimRequest {
    /// The sources that it can do something for. One without features has nothing to run: its tasks wait for the day
    /// when it has.
    pub(super) fn able(&self) -> Vec<&WorkerSource> {
        self.sources.iter().filter(|source| !source.features.is_empty()).collect()
    }
}

/// A run as a claim finds it.
#[derive(Deserialize, FromRow)]
pub(super) struct RunRecord {
    feature: String,
    state: String,
    attempts: i64,
    visible_at: i64,
    fence: i64,
}

/// A task as a claim finds it.
#[derive(FromRow)]
pub(super) struct ClaimRecord {
    source: String,
    source_bucket: String,
    file_path: String,
    data_chunk: i64,
    width: i64,
    ts_to_process: i64,
    lane: String,
    lease: i64,
    generation: i64,
    claims_without_verdict: i64,
    held_state: Option<String>,
}

impl ClaimRecord {
    pub(super) fn decode(self, lease: Lease, files: Vec<InputFile>, runs: Vec<RunToDo>) -> Step<Claim> {
        // The present claim has been counted already, unless it only holds the task.
        let counted = i64::from(self.held_state.is_none());
        let died = small_count((self.claims_without_verdict - counted).max(0))?;
        Ok(Claim {
            lease,
            source: source_name(&self.source)?,
            source_bucket: self.source_bucket,
            file_path: neartime_model::FilePath::new(self.file_path),
            chunk: chunk(self.data_chunk, self.width)?,
            ts_to_process: Instant::from_micros(self.ts_to_process),
            generation: Generation(self.generation),
            files,
            runs,
            isolate: died >= ISOLATE_AFTER_CLAIMS,
            taken_over: false,
            claims_without_verdict: died,
            lane: lane(&self.lane)?,
            lease_until: Instant::from_micros(self.lease),
        })
    }
}
