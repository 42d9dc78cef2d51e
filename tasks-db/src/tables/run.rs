//! Writing what became of a run.

use neartime_model::FeatureName;

use super::end::Guard;
use super::fault::{Step, damaged};
use super::records::{reason_counts_to_json, small_count, stored, stored_text};
use super::session::{Statement, statement};
use super::{Tasks, Write};
use crate::{Lease, MAX_RUN_ATTEMPTS, ReasonCount, RunEnd, RunOutcome, RunState};

const RUN_START: Statement = statement!("run_start");
const RUN_DONE: Statement = statement!("run_done");
const RUN_FAILED: Statement = statement!("run_failed");
const RUN_ATTEMPTS: Statement = statement!("run_attempts");

impl Tasks {
    pub(super) async fn try_start_run(&self, lease: &Lease, feature: &FeatureName) -> Step<()> {
        let mut write = self.write().await?;
        write.guard(lease).await?;
        let query = RUN_START.bind(lease.task.0).bind(feature.as_str()).bind(lease.fence.0);
        claimed(query.any(write.conn()).await?, feature)?;
        write.commit().await
    }

    pub(super) async fn try_finish_run(&self, lease: &Lease, outcome: &RunOutcome) -> Step<()> {
        let mut write = self.write().await?;
        let guard = write.guard(lease).await?;
        let guard = write.overtake(lease.task, guard, std::slice::from_ref(outcome)).await?;
        write.end_run(lease, &guard, outcome).await?;
        write.commit().await
    }
}

impl Write {
    /// Where the input moved meanwhile, the run goes back to waiting with all its tries, whatever came out.
    pub(super) async fn end_run(&mut self, lease: &Lease, guard: &Guard, outcome: &RunOutcome) -> Step<()> {
        match &outcome.end {
            RunEnd::Done { rows, bytes } => {
                let state = if guard.moved() { RunState::Waiting } else { RunState::Done };
                let file = (stored(*rows), stored(*bytes));
                self.write_done(lease, guard, outcome, state, Some(file), None).await
            }
            RunEnd::Superseded { found } => {
                let state = if guard.moved() { RunState::Waiting } else { RunState::Superseded };
                let note = format!("{found} was in place already");
                self.write_done(lease, guard, outcome, state, None, Some(note)).await
            }
            RunEnd::Failed { error, retry_after } => {
                let attempts = self.attempts(lease, outcome).await? + 1;
                let (state, attempts, wait) = match (guard.moved(), attempts >= MAX_RUN_ATTEMPTS) {
                    (true, _) => (RunState::Waiting, 0, None),
                    (false, true) => (RunState::Parked, attempts, None),
                    (false, false) => (RunState::Waiting, attempts, Some(*retry_after)),
                };
                self.write_failed(lease, outcome, state, attempts, wait, error).await
            }
            RunEnd::Delayed { note, retry_after } => {
                let attempts = if guard.moved() { 0 } else { self.attempts(lease, outcome).await? };
                let wait = (!guard.moved()).then_some(*retry_after);
                self.write_failed(lease, outcome, RunState::Waiting, attempts, wait, note).await
            }
        }
    }

    async fn attempts(&mut self, lease: &Lease, outcome: &RunOutcome) -> Step<u32> {
        let feature = outcome.feature.as_str();
        let query = RUN_ATTEMPTS.bind(lease.task.0).bind(feature).bind(lease.fence.0);
        let attempts: Option<(i64,)> = query.optional(self.conn()).await?;
        small_count(attempts.ok_or_else(|| not_claimed(&outcome.feature))?.0)
    }

    async fn write_done(
        &mut self,
        lease: &Lease,
        guard: &Guard,
        outcome: &RunOutcome,
        state: RunState,
        file: Option<(i64, i64)>,
        note: Option<String>,
    ) -> Step<()> {
        let query = RUN_DONE
            .bind(lease.task.0)
            .bind(outcome.feature.as_str())
            .bind(lease.fence.0)
            .bind(i64::from(outcome.version.0))
            .bind(state.as_str())
            .bind(guard.claimed_generation.0)
            .bind(file.map(|(rows, _)| rows))
            .bind(file.map(|(_, bytes)| bytes))
            .bind(reason_counts_to_json(&dropped(outcome)))
            .bind(note)
            .bind(self.now_micros());
        claimed(query.any(self.conn()).await?, &outcome.feature)
    }

    async fn write_failed(
        &mut self,
        lease: &Lease,
        outcome: &RunOutcome,
        state: RunState,
        attempts: u32,
        wait: Option<neartime_model::Span>,
        error: &str,
    ) -> Step<()> {
        let visible_at = wait.map_or(0, |wait| (self.now + wait).as_micros());
        let query = RUN_FAILED
            .bind(lease.task.0)
            .bind(outcome.feature.as_str())
            .bind(lease.fence.0)
            .bind(i64::from(outcome.version.0))
            .bind(state.as_str())
            .bind(i64::from(attempts))
            .bind(visible_at)
            .bind(stored_text(error))
            .bind(self.now_micros());
        claimed(query.any(self.conn()).await?, &outcome.feature)
    }
}

/// What was left out, without the reasons that did not occur.
fn dropped(outcome: &RunOutcome) -> Vec<ReasonCount> {
    outcome.dropped.iter().filter(|count| count.count > 0).cloned().collect()
}

/// A statement on a run found none that is part of the claim.
fn claimed(found: bool, feature: &FeatureName) -> Step<()> {
    if found { Ok(()) } else { Err(not_claimed(feature)) }
}

fn not_claimed(feature: &FeatureName) -> super::fault::Fault {
    damaged(format!("feature `{feature}` is no part of this claim"))
}
