//! Arming runs and tasks again: for an operator, and for features that came later.

use async_trait::async_trait;
use neartime_model::{FeatureName, FeatureVersion, Instant};

use super::declare::LOCK_COMPLETIONS;
use super::fault::Step;
use super::records::{feature_version, number_list};
use super::session::{Call, Session, Statement, statement};
use super::{PAGE, Tasks, Write};
use crate::{BackfillRequest, Lane, Operate, Result, RetryRequest, TasksError, WorkerSource};

const FEATURE_READ: Statement = statement!("feature_read");
const FEATURE_CHECKED: Statement = statement!("feature_checked");
const FEATURE_CHECK: Statement = statement!("feature_check");
const MISSING_RUNS: Statement = statement!("missing_runs");
const BACKFILL_PAGE: Statement = statement!("backfill_page");
const LOCK_TASKS: Statement = statement!(postgres "lock_tasks");
const ARM_RUNS: Statement = statement!("arm_runs");
const ARM_TASKS: Statement = statement!("arm_tasks");
const RETRY_TASKS: Statement = statement!("retry_tasks");
const RETRY_FILES: Statement = statement!("retry_files");
const RETRY_ARM: Statement = statement!("retry_arm");
const RETRY_RUNS: Statement = statement!("retry_runs");

/// Completions that a search may lie behind before it is written how far it came: a write waits for the disk, and
/// searching so few again costs nothing.
const MAX_UNWRITTEN: i64 = 1_000;

#[async_trait]
impl Operate for Tasks {
    async fn retry(&self, request: &RetryRequest) -> Result<u64> {
        self.again("retry tasks", || self.try_retry(request)).await
    }

    async fn backfill(&self, request: &BackfillRequest) -> Result<u64> {
        self.again("arm a backfill", || self.refuse_unknown_version(request)).await?;
        let (mut armed, mut after) = (0, Some(BEFORE_ALL));
        // In pages, each a call by itself: fresh work is not kept waiting, and none takes long.
        while let Some(last) = after {
            let page = self.again("arm a backfill", || self.try_backfill_after(request, last)).await?;
            (armed, after) = (armed + page.armed, page.last);
        }
        Ok(armed)
    }
}

impl Tasks {
    async fn try_retry(&self, request: &RetryRequest) -> Step<u64> {
        let mut write = self.write().await?;
        let query = RETRY_TASKS
            .bind(number_list(request.tasks.iter().map(|task| task.0)))
            .bind(request.source.as_ref().map(|source| source.as_str()))
            .bind(request.file_path.as_ref().map(|path| path.as_str()))
            .bind(request.from.map(Instant::as_micros))
            .bind(request.to.map(Instant::as_micros))
            .bind(write.now_micros());
        let tasks: Vec<(i64, bool)> = query.all(write.conn()).await?;
        for input_changes in [false, true] {
            let part = tasks.iter().filter(|(_, changes)| *changes == input_changes).map(|(task, _)| *task);
            let part = number_list(part);
            if part != "[]" {
                write.retry(&part, input_changes, request.accept_missing).await?;
            }
        }
        write.commit().await?;
        Ok(u64::try_from(tasks.len()).unwrap_or(u64::MAX))
    }

    /// Arms the next tasks after one; a repeat after a failure arms the same runs again.
    async fn try_backfill_after(&self, request: &BackfillRequest, after: TaskPlace) -> Step<BackfillPage> {
        let mut write = self.write().await?;
        let query = BACKFILL_PAGE
            .bind(request.source.as_str())
            .bind(request.from.as_micros())
            .bind(request.to.as_micros())
            .bind(after.data_chunk)
            .bind(after.task)
            .bind(PAGE);
        let page: Vec<(i64, i64)> = query.all(write.conn()).await?;
        let Some(&(task, data_chunk)) = page.last() else { return Ok(BackfillPage::default()) };
        let tasks = number_list(page.iter().map(|(task, _)| *task));
        write.arm(&tasks, &request.feature, request.version, Lane::Backfill).await?;
        write.commit().await?;
        Ok(BackfillPage { armed: page.len() as u64, last: Some(TaskPlace { data_chunk, task }) })
    }

    async fn refuse_unknown_version(&self, request: &BackfillRequest) -> Step<()> {
        let query = FEATURE_READ.bind(request.feature.as_str());
        let known: Vec<VersionRecord> = query.all(self.read().await?.session()).await?;
        let newest = known.last().map(|record| feature_version(record.version)).transpose()?;
        let (feature, version) = (&request.feature, request.version);
        match newest {
            Some(newest) if newest == version => Ok(()),
            Some(newest) if newest > version => Err(TasksError::Refused(format!(
                "feature `{feature}` is known at version {newest}, and this binary has version {version}: \
                 backfill with the newer binary"
            ))
            .into()),
            _ => Err(never_declared(feature, version).into()),
        }
    }

    /// In pages, as a backfill is.
    pub(super) async fn arm_pages_of_missing_runs(&self, source: &WorkerSource) -> Result<u64> {
        let mut armed = 0;
        for (feature, version) in &source.features {
            let arm_page = || self.try_arm_missing_runs(source, feature, *version);
            while let Some(more) = self.again("arm runs that are missing", arm_page).await? {
                armed += more;
            }
        }
        Ok(armed)
    }

    /// Arms the next runs that are missing; `None` if none are.
    async fn try_arm_missing_runs(
        &self,
        source: &WorkerSource,
        feature: &FeatureName,
        version: FeatureVersion,
    ) -> Step<Option<u64>> {
        match self.find_missing_runs(source, feature, version).await? {
            Some(found) => self.arm_found(source, feature, version, found).await.map(Some),
            None => Ok(None),
        }
    }

    /// Looks, without the write lock, whether there is anything to write; gives the completions to search.
    async fn find_missing_runs(
        &self,
        source: &WorkerSource,
        feature: &FeatureName,
        version: FeatureVersion,
    ) -> Step<Option<Completions>> {
        let mut tx = self.read().await?;
        let completions = unsearched(tx.session(), feature, version).await?;
        let query = missing_runs(source, feature, version, completions, 1);
        let anything = query.any(tx.session()).await?;
        drop(tx);
        let is_far_behind = completions.upto - completions.after > MAX_UNWRITTEN;
        if !anything && !is_far_behind {
            return Ok(None);
        }
        // Once more, when no number below the last is still to come.
        let mut write = self.write().await?;
        write.lock(LOCK_COMPLETIONS.call()).await?;
        let completions = unsearched(write.conn(), feature, version).await?;
        write.commit().await?;
        Ok(Some(completions))
    }

    async fn arm_found(
        &self,
        source: &WorkerSource,
        feature: &FeatureName,
        version: FeatureVersion,
        completions: Completions,
    ) -> Step<u64> {
        let mut write = self.write().await?;
        let query = missing_runs(source, feature, version, completions, PAGE);
        let page: Vec<(i64, i64)> = query.all(write.conn()).await?;
        let tasks = number_list(page.iter().map(|(task, _)| *task));
        write.arm(&tasks, feature, version, Lane::Fresh).await?;
        let found = i64::try_from(page.len()).unwrap_or(i64::MAX);
        let upto = match page.last() {
            Some((_, completion)) if found == PAGE => *completion,
            _ => completions.upto,
        };
        let query = FEATURE_CHECK.bind(feature.as_str()).bind(i64::from(version.0)).bind(upto);
        query.run(write.conn()).await?;
        write.commit().await?;
        Ok(u64::try_from(found).unwrap_or(0))
    }
}

impl Write {
    /// Wants a feature on these tasks; those that are finished become due in `lane`.
    async fn arm(&mut self, tasks: &str, feature: &FeatureName, version: FeatureVersion, lane: Lane) -> Step<()> {
        self.lock(LOCK_TASKS.bind(tasks)).await?;
        let query = ARM_RUNS.bind(tasks).bind(feature.as_str()).bind(i64::from(version.0));
        query.run(self.conn()).await?;
        let query = ARM_TASKS.bind(tasks).bind(lane.as_str()).bind(self.now_micros());
        query.run(self.conn()).await?;
        Ok(())
    }

    async fn retry(&mut self, tasks: &str, input_changes: bool, accept_missing: bool) -> Step<()> {
        self.lock(LOCK_TASKS.bind(tasks)).await?;
        RETRY_FILES.bind(tasks).bind(accept_missing).run(self.conn()).await?;
        let raise = i64::from(input_changes);
        let query = RETRY_ARM.bind(tasks).bind(raise).bind(self.now_micros());
        query.run(self.conn()).await?;
        RETRY_RUNS.bind(tasks).bind(input_changes).run(self.conn()).await?;
        Ok(())
    }
}

/// Where a task stands among those of its source: by chunk, then by number.
#[derive(Clone, Copy)]
struct TaskPlace {
    data_chunk: i64,
    task: i64,
}

const BEFORE_ALL: TaskPlace = TaskPlace { data_chunk: i64::MIN, task: 0 };

/// Tasks that were armed together; `last` is `None` if there were none.
#[derive(Default)]
struct BackfillPage {
    armed: u64,
    last: Option<TaskPlace>,
}

/// The completions after one number, up to another.
#[derive(Clone, Copy)]
struct Completions {
    after: i64,
    upto: i64,
}

#[derive(sqlx::FromRow)]
struct VersionRecord {
    version: i64,
}

async fn unsearched(conn: Session<'_>, feature: &FeatureName, version: FeatureVersion) -> Step<Completions> {
    let query = FEATURE_CHECKED.bind(feature.as_str()).bind(i64::from(version.0));
    let (after, upto): (i64, i64) = query.optional(conn).await?.ok_or_else(|| never_declared(feature, version))?;
    Ok(Completions { after, upto })
}

fn never_declared(feature: &FeatureName, version: FeatureVersion) -> TasksError {
    TasksError::Refused(format!("feature `{feature}` version {version} was never declared"))
}

/// Tasks, each with its completion.
fn missing_runs(
    source: &WorkerSource,
    feature: &FeatureName,
    version: FeatureVersion,
    completions: Completions,
    limit: i64,
) -> Call {
    MISSING_RUNS
        .bind(feature.as_str())
        .bind(i64::from(version.0))
        .bind(source.name.as_str())
        .bind(completions.after)
        .bind(completions.upto)
        .bind(limit)
}
