//! Arming runs and tasks again: for an operator, and for features that came later.

use async_trait::async_trait;
use neartime_model::{FeatureName, FeatureVersion, Instant};

use super::fault::{Step, doing};
use super::records::{feature_version, number_list};
use super::{PAGE, SqliteTasks, Write};
use crate::{BackfillRequest, Lane, Operate, Result, RetryRequest, TasksError, WorkerSource};

const FEATURE_READ: &str = include_str!("../../queries/sqlite/feature_read.sql");
const FEATURE_CHECKED: &str = include_str!("../../queries/sqlite/feature_checked.sql");
const FEATURE_CHECK: &str = include_str!("../../queries/sqlite/feature_check.sql");
const MISSING_RUNS: &str = include_str!("../../queries/sqlite/missing_runs.sql");
const BACKFILL_PAGE: &str = include_str!("../../queries/sqlite/backfill_page.sql");
const ARM_RUNS: &str = include_str!("../../queries/sqlite/arm_runs.sql");
const ARM_TASKS: &str = include_str!("../../queries/sqlite/arm_tasks.sql");
const RETRY_TASKS: &str = include_str!("../../queries/sqlite/retry_tasks.sql");
const RETRY_FILES: &str = include_str!("../../queries/sqlite/retry_files.sql");
const RETRY_ARM: &str = include_str!("../../queries/sqlite/retry_arm.sql");
const RETRY_RUNS: &str = include_str!("../../queries/sqlite/retry_runs.sql");

/// Completions that a search may lie behind before it is written how far it came: a write waits for the disk, and
/// searching so few again costs nothing.
const MAX_UNWRITTEN: i64 = 1_000;

#[async_trait]
impl Operate for SqliteTasks {
    async fn retry(&self, request: &RetryRequest) -> Result<u64> {
        self.try_retry(request).await.map_err(doing("retry tasks"))
    }

    async fn backfill(&self, request: &BackfillRequest) -> Result<u64> {
        self.try_backfill(request).await.map_err(doing("arm a backfill"))
    }
}

impl SqliteTasks {
    async fn try_retry(&self, request: &RetryRequest) -> Step<u64> {
        let mut write = self.write().await?;
        let query = sqlx::query_as(RETRY_TASKS)
            .bind(number_list(request.tasks.iter().map(|task| task.0)))
            .bind(request.source.as_ref().map(|source| source.as_str()))
            .bind(request.file_path.as_ref().map(|path| path.as_str()))
            .bind(request.from.map(Instant::as_micros))
            .bind(request.to.map(Instant::as_micros))
            .bind(write.now_micros());
        let tasks: Vec<(i64, bool)> = query.fetch_all(write.conn()).await?;
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

    /// In pages, so that fresh work is not kept waiting; a repeat after a failure arms the same runs again.
    async fn try_backfill(&self, request: &BackfillRequest) -> Step<u64> {
        self.refuse_unknown_version(request).await?;
        let mut last = (i64::MIN, 0_i64);
        let mut armed = 0;
        loop {
            let mut write = self.write().await?;
            let query = sqlx::query_as(BACKFILL_PAGE)
                .bind(request.source.as_str())
                .bind(request.from.as_micros())
                .bind(request.to.as_micros())
                .bind(last.0)
                .bind(last.1)
                .bind(PAGE);
            let page: Vec<(i64, i64)> = query.fetch_all(write.conn()).await?;
            let Some((task, data_chunk)) = page.last() else { return Ok(armed) };
            last = (*data_chunk, *task);
            let tasks = number_list(page.iter().map(|(task, _)| *task));
            write.arm(&tasks, &request.feature, request.version, Lane::Backfill).await?;
            write.commit().await?;
            armed += u64::try_from(page.len()).unwrap_or(u64::MAX);
        }
    }

    async fn refuse_unknown_version(&self, request: &BackfillRequest) -> Step<()> {
        let query = sqlx::query_as(FEATURE_READ).bind(request.feature.as_str());
        let known: Vec<VersionRecord> = query.fetch_all(&self.readers).await?;
        let newest = known.last().map(|record| feature_version(record.version)).transpose()?;
        let (feature, version) = (&request.feature, request.version);
        match newest {
            Some(newest) if newest == version => Ok(()),
            Some(newest) if newest > version => Err(TasksError::Refused(format!(
                "feature `{feature}` is known at version {newest}, and this binary has version {version}: \
                 backfill with the newer binary"
            ))
            .into()),
            _ => Err(TasksError::Refused(format!("feature `{feature}` version {version} was never declared")).into()),
        }
    }

    pub(super) async fn try_arm_missing_runs(&self, source: &WorkerSource) -> Step<u64> {
        let mut armed = 0;
        for (feature, version) in &source.features {
            while let Some(found) = self.find_missing_runs(source, feature, *version).await? {
                armed += self.arm_found(source, feature, *version, found).await?;
            }
        }
        Ok(armed)
    }

    /// Looks, without the write lock, whether there is anything to write; gives the completions to search.
    async fn find_missing_runs(
        &self,
        source: &WorkerSource,
        feature: &FeatureName,
        version: FeatureVersion,
    ) -> Step<Option<Completions>> {
        let query = sqlx::query_as(FEATURE_CHECKED).bind(feature.as_str()).bind(i64::from(version.0));
        let checked: Option<(i64, i64)> = query.fetch_optional(&self.readers).await?;
        let Some((after, upto)) = checked else {
            return Err(TasksError::Refused(format!("feature `{feature}` version {version} was never declared")).into());
        };
        let query = missing_runs(source, feature, version, Completions { after, upto }, 1);
        let anything = query.fetch_optional(&self.readers).await?.is_some();
        let is_far_behind = upto - after > MAX_UNWRITTEN;
        Ok((anything || is_far_behind).then_some(Completions { after, upto }))
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
        let page: Vec<(i64, i64)> = query.fetch_all(write.conn()).await?;
        let tasks = number_list(page.iter().map(|(task, _)| *task));
        write.arm(&tasks, feature, version, Lane::Fresh).await?;
        let found = i64::try_from(page.len()).unwrap_or(i64::MAX);
        let upto = match page.last() {
            Some((_, completion)) if found == PAGE => *completion,
            _ => completions.upto,
        };
        let query = sqlx::query(FEATURE_CHECK).bind(feature.as_str()).bind(i64::from(version.0)).bind(upto);
        query.execute(write.conn()).await?;
        write.commit().await?;
        Ok(u64::try_from(found).unwrap_or(0))
    }
}

impl Write {
    /// Wants a feature on these tasks; those that are finished become due in `lane`.
    async fn arm(&mut self, tasks: &str, feature: &FeatureName, version: FeatureVersion, lane: Lane) -> Step<()> {
        let query = sqlx::query(ARM_RUNS).bind(tasks.to_owned()).bind(feature.as_str()).bind(i64::from(version.0));
        query.execute(self.conn()).await?;
        let query = sqlx::query(ARM_TASKS).bind(tasks.to_owned()).bind(lane.as_str()).bind(self.now_micros());
        query.execute(self.conn()).await?;
        Ok(())
    }

    async fn retry(&mut self, tasks: &str, input_changes: bool, accept_missing: bool) -> Step<()> {
        sqlx::query(RETRY_FILES).bind(tasks.to_owned()).bind(accept_missing).execute(self.conn()).await?;
        let raise = i64::from(input_changes);
        let query = sqlx::query(RETRY_ARM).bind(tasks.to_owned()).bind(raise).bind(self.now_micros());
        query.execute(self.conn()).await?;
        sqlx::query(RETRY_RUNS).bind(tasks.to_owned()).bind(input_changes).execute(self.conn()).await?;
        Ok(())
    }
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

type Pairs<'q> = sqlx::query::QueryAs<'q, sqlx::Sqlite, (i64, i64), sqlx::sqlite::SqliteArguments>;

/// Tasks, each with its completion.
fn missing_runs<'q>(
    source: &WorkerSource,
    feature: &FeatureName,
    version: FeatureVersion,
    completions: Completions,
    limit: i64,
) -> Pairs<'q> {
    sqlx::query_as(MISSING_RUNS)
        .bind(feature.as_str().to_owned())
        .bind(i64::from(version.0))
        .bind(source.name.as_str().to_owned())
        .bind(completions.after)
        .bind(completions.upto)
        .bind(limit)
}
