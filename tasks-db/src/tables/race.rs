//! Claiming on Postgres, where many claim at once.
//!
//! One statement takes the task whose turn it is, and gives all that the worker needs. Whoever finds every path taken at
//! this very moment looks again a moment later; whoever finds something out of the ordinary (a claim that died, a fence
//! that lies ahead, a file that came between two looks) goes the long way, the same as on SQLite.

use std::time::Duration;

use neartime_model::{FeatureName, FeatureVersion, Fence, Instant};
use serde_json::{Map, Value, json};
use sqlx::FromRow;

use super::claim::{ClaimRecord, MAX_FENCE_AHEAD, RunRecord, Search, runs_to_do};
use super::fault::{Step, damaged};
use super::records::{InputFileRecord, stored_text};
use super::session::{Call, Statement, statement};
use super::{DbClock, Tasks};
use crate::postgres::PostgresBackend;
use crate::{Claim, ClaimRequest, Lease, MAX_CLAIMS_WITHOUT_VERDICT, TaskId, WorkerSource};

const CLAIM: Statement = statement!(postgres "claim");

/// How often a claim looks again while all paths are being claimed by others.
const MAX_LOOKS: u32 = 40;

/// Between two looks it waits at least this, and up to twice as long.
const PAUSE_MICROS: u64 = 500;

/// What one look came to.
enum Look {
    Taken(Box<Claim>),
    NothingDue,
    /// Others are claiming on every path that has due work.
    Crowded,
    /// The one statement cannot tell what to do.
    Unusual,
}

/// What the statement says besides the task.
#[derive(FromRow)]
struct Found {
    now: i64,
    is_due: bool,
    has_turn: bool,
    task_id: Option<i64>,
    fence: Option<i64>,
    /// JSON: [[key, version, size], …]
    files: Option<String>,
    /// JSON: [{feature, state, attempts, visible_at, fence}, …]
    runs: String,
}

impl Tasks {
    pub(super) async fn race(&self, server: &PostgresBackend, request: &ClaimRequest) -> Step<Option<Claim>> {
        let able = request.able();
        if able.is_empty() {
            return Ok(None);
        }
        let mut looks = 0;
        while looks < MAX_LOOKS {
            match self.look(server, request, &able).await? {
                Look::Taken(claim) if claim.runs.is_empty() => self.end_idle(&claim.lease).await?,
                Look::Taken(claim) => return Ok(Some(*claim)),
                Look::NothingDue => return Ok(None),
                Look::Unusual => match self.try_claim(request, &able).await? {
                    Search::Found(claim) => return Ok(Some(*claim)),
                    Search::Nothing => looks += self.pause(looks).await,
                    Search::More => {}
                },
                Look::Crowded => looks += self.pause(looks).await,
            }
        }
        // Whoever asks again soon finds less of a crowd.
        Ok(None)
    }

    /// Waits a little, everybody a little differently, and counts one look.
    async fn pause(&self, looks: u32) -> u32 {
        let dice = u64::try_from(self.machine_clock.now().as_micros()).unwrap_or(0) % PAUSE_MICROS;
        tokio::time::sleep(Duration::from_micros(PAUSE_MICROS + dice + u64::from(looks) * 100)).await;
        1
    }

    async fn look(&self, server: &PostgresBackend, request: &ClaimRequest, able: &[&WorkerSource]) -> Step<Look> {
        let row = server.row(self.claim_call(request, able)).await?;
        let found = Found::from_row(&row)?;
        let Found { task_id: Some(task), fence: Some(fence), files: Some(files), .. } = &found else {
            return Ok(match (found.is_due, found.has_turn) {
                (false, _) => Look::NothingDue,
                (true, false) => Look::Crowded,
                (true, true) => Look::Unusual,
            });
        };
        let lease = Lease { task: TaskId(*task), fence: Fence(*fence) };
        let files: Vec<InputFileRecord> = serde_json::from_str(files).map_err(damaged)?;
        let files = files.into_iter().map(InputFileRecord::decode).collect::<Step<_>>()?;
        let mut claim = ClaimRecord::from_row(&row)?.decode(lease, files, Vec::new())?;
        let source = able.iter().find(|source| source.name == claim.source);
        let features: &[(FeatureName, FeatureVersion)] = source.map_or(&[], |source| &source.features);
        let runs: Vec<RunRecord> = serde_json::from_str(&found.runs).map_err(damaged)?;
        claim.runs = runs_to_do(runs, lease.fence, Instant::from_micros(found.now), features)?;
        Ok(Look::Taken(Box::new(claim)))
    }

    fn claim_call(&self, request: &ClaimRequest, able: &[&WorkerSource]) -> Call {
        let sources: Map<String, Value> = able
            .iter()
            .map(|source| {
                let features = source.features.iter().map(|(name, version)| json!([name.as_str(), version.0]));
                (source.name.as_str().to_owned(), features.collect())
            })
            .collect();
        let now = match self.db_clock() {
            DbClock::Database => None,
            DbClock::Given(clock) => Some(clock.now().as_micros()),
        };
        CLAIM
            .bind(Value::Object(sources).to_string())
            .bind(now)
            .bind(request.lease.as_micros())
            .bind(stored_text(&request.worker))
            .bind((self.machine_clock.now() + MAX_FENCE_AHEAD).as_micros())
            .bind(i64::from(MAX_CLAIMS_WITHOUT_VERDICT))
    }

    /// Ends a claim that has nothing to do: its runs ended before it did, or those that are left are none of this
    /// binary's business.
    async fn end_idle(&self, lease: &Lease) -> Step<()> {
        let mut write = self.write().await?;
        write.end_claim(lease).await?;
        write.commit().await
    }
}
