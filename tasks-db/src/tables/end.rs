//! Ending a claim: with a verdict, without one, or by parking.

use neartime_model::{Generation, Instant, Span};
use sqlx::FromRow;

use super::fault::Step;
use super::records::{instant, stored_text, task_state, text_list};
use super::session::{Statement, statement};
use super::{Tasks, Write};
use crate::{Ended, Lease, Parking, ReadSummary, RunEnd, RunOutcome, TaskId, TaskState, TasksError};

const OVERTAKE: Statement = statement!("overtake");
const LEASE_GUARD: Statement = statement!("lease_guard");
const CLAIM_END: Statement = statement!("claim_end");
const CLAIM_ENDED: Statement = statement!("claim_ended");
const NEXT_COMPLETION: Statement = statement!("next_completion");
const HOLD_READ: Statement = statement!("hold_read");
const HOLD_END: Statement = statement!("hold_end");
const RELEASE: Statement = statement!("release");
const RELEASE_RUNS: Statement = statement!("release_runs");
const ABANDON: Statement = statement!("abandon");
const PARK: Statement = statement!("park");
const PARK_FILES: Statement = statement!("park_files");

/// What the end of a claim depends on, read under the write lock.
pub(super) struct Guard {
    pub(super) generation: Generation,
    pub(super) claimed_generation: Generation,
    ts_to_process: Instant,
    is_held: bool,
    retry_at: Option<Instant>,
    run_error: Option<String>,
}

impl Guard {
    /// Whether files were registered since the claim.
    pub(super) fn moved(&self) -> bool {
        self.generation > self.claimed_generation
    }
}

#[derive(FromRow)]
struct GuardRecord {
    generation: i64,
    claimed_generation: i64,
    ts_to_process: i64,
    held_state: Option<String>,
    retry_at: Option<i64>,
    run_error: Option<String>,
}

impl Tasks {
    pub(super) async fn try_complete(
        &self,
        lease: &Lease,
        outcomes: &[RunOutcome],
        read: Option<&ReadSummary>,
    ) -> Step<Ended> {
        let mut write = self.write().await?;
        let guard = match write.guard(lease).await {
            Ok(guard) => guard,
            Err(lost) => return write.ended_before(lease).await?.ok_or(lost),
        };
        let guard = write.overtake(lease.task, guard, outcomes).await?;
        let ended = if guard.is_held {
            write.end_hold(lease.task).await?
        } else {
            for outcome in outcomes {
                write.end_run(lease, &guard, outcome).await?;
            }
            if let Some(read) = read {
                write.write_reading(lease.task, guard.claimed_generation, read).await?;
            }
            write.end_claim(lease).await?
        };
        write.commit().await?;
        Ok(ended)
    }

    pub(super) async fn try_release(&self, lease: &Lease, delay: Span, note: &str) -> Step<()> {
        let mut write = self.write().await?;
        if write.guard(lease).await?.is_held {
            write.end_hold(lease.task).await?;
        } else {
            let due_at = (write.now + delay).as_micros();
            let query = RELEASE.bind(lease.task.0).bind(lease.fence.0).bind(due_at);
            query.bind(stored_text(note)).run(write.conn()).await?;
            RELEASE_RUNS.bind(lease.task.0).run(write.conn()).await?;
        }
        write.commit().await
    }

    pub(super) async fn try_abandon(&self, lease: &Lease, note: &str) -> Step<()> {
        let mut write = self.write().await?;
        if write.guard(lease).await?.is_held {
            write.end_hold(lease.task).await?;
        } else {
            write.blame(lease.task).await?;
            let query = ABANDON.bind(lease.task.0).bind(lease.fence.0).bind(write.now_micros());
            query.bind(stored_text(note)).run(write.conn()).await?;
        }
        write.commit().await
    }

    pub(super) async fn try_park(&self, lease: &Lease, parking: &Parking) -> Step<Ended> {
        let mut write = self.write().await?;
        let guard = write.guard(lease).await?;
        if guard.is_held {
            let ended = write.end_hold(lease.task).await?;
            write.commit().await?;
            return Ok(ended);
        }
        let keys = text_list(parking.missing.iter().map(neartime_model::FileKey::as_str));
        let query = PARK_FILES.bind(lease.task.0).bind(keys).bind(guard.claimed_generation.0);
        query.run(write.conn()).await?;
        RELEASE_RUNS.bind(lease.task.0).run(write.conn()).await?;
        let due_at = guard.moved().then(|| guard.ts_to_process.max(write.now));
        let state = if guard.moved() { TaskState::Waiting } else { TaskState::Parked };
        let query = PARK.bind(lease.task.0).bind(lease.fence.0).bind(state.as_str());
        let query = query.bind(due_at.map(Instant::as_micros)).bind(stored_text(&parking.error));
        query.run(write.conn()).await?;
        write.commit().await?;
        Ok(Ended { state, input_moved: guard.moved(), due_at })
    }
}

impl Write {
    /// Makes sure that the lease holds; in this transaction nobody can take it any more.
    pub(super) async fn guard(&mut self, lease: &Lease) -> Step<Guard> {
        let query = LEASE_GUARD.bind(lease.task.0).bind(lease.fence.0).bind(self.now_micros());
        let row: Option<GuardRecord> = query.optional(self.conn()).await?;
        let row = row.ok_or(TasksError::LeaseLost { task: lease.task })?;
        Ok(Guard {
            generation: Generation(row.generation),
            claimed_generation: Generation(row.claimed_generation),
            ts_to_process: Instant::from_micros(row.ts_to_process),
            is_held: row.held_state.is_some(),
            retry_at: instant(row.retry_at),
            run_error: row.run_error,
        })
    }

    /// Where a run met rows of its own version and a later generation, though its claim holds, this database does not
    /// remember who made them: it was lost, or is an older copy. The task is lifted above them, as if files had come,
    /// and runs again.
    pub(super) async fn overtake(&mut self, task: TaskId, guard: Guard, outcomes: &[RunOutcome]) -> Step<Guard> {
        let unknown = outcomes.iter().filter_map(|outcome| match outcome.end {
            RunEnd::Superseded { found } if found.version == outcome.version => Some(found.generation),
            _ => None,
        });
        let Some(unknown) = unknown.max() else { return Ok(guard) };
        let lifted: Option<(i64,)> = OVERTAKE.bind(task.0).bind(unknown.0).optional(self.conn()).await?;
        Ok(match lifted {
            Some((generation,)) => Guard { generation: Generation(generation), ..guard },
            None => guard,
        })
    }

    async fn next_completion(&mut self) -> Step<i64> {
        let (number,): (i64,) = NEXT_COMPLETION.call().one(self.conn()).await?;
        Ok(number)
    }

    /// Whether this claim has completed already and only its answer was lost.
    async fn ended_before(&mut self, lease: &Lease) -> Step<Option<Ended>> {
        let query = CLAIM_ENDED.bind(lease.task.0).bind(lease.fence.0);
        let row: Option<(String, Option<i64>, bool)> = query.optional(self.conn()).await?;
        let decode = |(state, due_at, input_moved): (String, Option<i64>, bool)| {
            Ok(Ended { state: task_state(&state)?, input_moved, due_at: instant(due_at) })
        };
        row.map(decode).transpose()
    }

    /// Ends a claim whose runs are written: waiting where the input moved or a run has tries left, else done.
    pub(super) async fn end_claim(&mut self, lease: &Lease) -> Step<Ended> {
        let guard = self.guard(lease).await?;
        let moved_at = guard.moved().then(|| guard.ts_to_process.max(self.now));
        let due_at = moved_at.or(guard.retry_at);
        let state = if due_at.is_some() { TaskState::Waiting } else { TaskState::Done };
        let has_tries_left = !guard.moved() && guard.retry_at.is_some();
        let completion = if has_tries_left { None } else { Some(self.next_completion().await?) };
        let query = CLAIM_END
            .bind(lease.task.0)
            .bind(lease.fence.0)
            .bind(state.as_str())
            .bind(due_at.map(Instant::as_micros))
            .bind(guard.run_error.as_deref())
            .bind(completion);
        query.run(self.conn()).await?;
        Ok(Ended { state, input_moved: guard.moved(), due_at })
    }

    /// Gives a held task back as it was; where files were registered meanwhile, it is due.
    pub(super) async fn end_hold(&mut self, task: TaskId) -> Step<Ended> {
        let query = HOLD_READ.bind(task.0);
        let (state, due_at, ts_to_process, moved): (String, Option<i64>, i64, bool) = query.one(self.conn()).await?;
        let (state, due_at) =
            if moved { (TaskState::Waiting, Some(ts_to_process)) } else { (task_state(&state)?, due_at) };
        let query = HOLD_END.bind(task.0).bind(state.as_str()).bind(due_at);
        query.run(self.conn()).await?;
        Ok(Ended { state, input_moved: moved, due_at: instant(due_at) })
    }
}
