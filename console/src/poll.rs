//! What stands in the task database, asked when somebody looks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use neartime_model::{Clock, Span, chain};
use neartime_tasks_db::{TasksDb, TasksError};
use tokio::sync::Mutex;

use crate::Metrics;
use crate::metrics::age;

/// An answer is good for so long: many lookers cost no more than one.
const FRESH: Duration = Duration::from_secs(5);
/// A database that needs longer counts as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Knows the report that is live.
#[async_trait]
pub trait LiveReport: Send + Sync {
    /// The instant as of which the live report was made; `None` where none is live.
    async fn as_of(&self) -> Result<Option<neartime_model::Instant>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Asks the databases, and remembers the answer for a while.
pub(crate) struct Poll {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: Arc<dyn TasksDb>,
    pub(crate) report: Option<Arc<dyn LiveReport>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// When the task database was asked last, and why it did not answer.
    pub(crate) tasks_asked: Mutex<Option<(Instant, Result<(), String>)>>,
    /// When the report was asked for last.
    pub(crate) report_asked: Mutex<Option<Instant>>,
}

impl Poll {
    /// Brings the gauges of the tasks up to date; tells why the task database is away.
    pub(crate) async fn refresh_tasks(&self) -> Result<(), String> {
        let mut asked = self.tasks_asked.lock().await;
        if let Some((at, answer)) = &*asked
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(PATIENCE, self.ask_tasks()).await {
            Ok(answer) => answer.map_err(|error| chain(&error)),
            Err(_) => Err(format!("it did not answer within {PATIENCE:?}")),
        };
        if answer.is_err() {
            self.metrics.database_is_away();
        }
        *asked = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Brings the gauge of the report up to date.
    pub(crate) async fn refresh_report(&self) {
        let mut asked = self.report_asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= FRESH) {
            self.ask_report().await;
            *asked = Some(Instant::now());
        }
    }

    async fn ask_tasks(&self) -> Result<(), TasksError> {
        let before = self.clock.now();
        let pulse = self.tasks.pulse().await?;
        // The answer was true at some moment in between: half the way is the best guess.
        let half = Span::from_micros((self.clock.now() - before).as_micros() / 2);
        self.metrics.database_is_up(pulse.at - (before + half));
        self.metrics.forget_tasks();
        for source in pulse.sources {
            let states = [("due", source.due), ("waiting", source.waiting), ("running", source.running)];
            for (state, tasks) in states.into_iter().chain([("parked", source.parked)]) {
                self.metrics.tasks(&source.source, state, tasks);
            }
            if let Some(due_at) = source.oldest_due_at {
                self.metrics.oldest_due_age(&source.source, age(pulse.at, due_at));
            }
        }
        for feature in pulse.features {
            self.metrics.feature_runs(&feature.name, feature.waiting, feature.parked);
            if let Some(end) = feature.newest_done_end {
                self.metrics.feature_age(&feature.name, age(pulse.at, end));
            }
        }
        Ok(())
    }

    async fn ask_report(&self) {
        let Some(report) = &self.report else { return };
        let as_of = match tokio::time::timeout(PATIENCE, report.as_of()).await {
            Ok(Ok(as_of)) => as_of,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(error.as_ref()), "the age of the report is not known");
                None
            }
            Err(_) => None,
        };
        self.metrics.report_age(as_of.map(|as_of| age(self.clock.now(), as_of)));
    }
}
