//! Reading the task table: on the reading connections, which wait for no writer.

use async_trait::async_trait;
use neartime_model::{FeatureName, Fence, FileKey, FilePath, FileVersion, Instant};
use sqlx::FromRow;

use super::Tasks;
use super::fault::{Step, damaged};
use super::records::{
    chunk, count, feature_name, feature_version, file_state, generation, instant, lane, reason_counts_from_json,
    run_state, small_count, source_name, task_state,
};
use super::session::{Statement, statement};
use crate::{
    ColumnDeclaration, FeaturePulse, FeatureStanding, FileRow, InputFile, Look, Pulse, QuarantineCursor,
    QuarantineExample, QuarantineQuery, QuarantineRow, ReasonCount, Result, RunRow, SourcePulse, TaskDetail, TaskId,
    TaskQuery, TaskRow, TaskState,
};

const TASKS_PAGE: Statement = statement!("tasks_page");
const TASKS_PAGE_BY_STATE: Statement = statement!("tasks_page_by_state");
const TASKS_PAGE_PARKED: Statement = statement!("tasks_page_parked");
const TASK_READ: Statement = statement!("task_read");
const TASK_FILES: Statement = statement!("task_files");
const TASK_RUNS: Statement = statement!("task_runs");
const TASK_COUNTS: Statement = statement!("task_counts");
const FEATURES_STANDING: Statement = statement!("features_standing");
const DECLARED_COLUMNS: Statement = statement!("declared_columns");
const PULSE: Statement = statement!("pulse");
const PULSE_FEATURES: Statement = statement!("pulse_features");
const QUARANTINE_PAGE: Statement = statement!("quarantine_page");

#[async_trait]
impl Look for Tasks {
    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRow>> {
        self.again("list tasks", || self.read_tasks(query)).await
    }

    async fn task(&self, task: TaskId) -> Result<Option<TaskDetail>> {
        self.again("show a task", || self.read_task(task)).await
    }

    async fn features(&self) -> Result<Vec<FeatureStanding>> {
        let read = async || {
            let rows: Vec<StandingRecord> = FEATURES_STANDING.call().all(self.read().await?.session()).await?;
            rows.into_iter().map(StandingRecord::decode).collect::<Step<Vec<_>>>()
        };
        self.again("list features", read).await
    }

    async fn declared_columns(&self) -> Result<Vec<(FeatureName, Vec<ColumnDeclaration>)>> {
        let decode = |(feature, columns): (String, String)| {
            let columns: Vec<(String, String)> = serde_json::from_str(&columns).map_err(damaged)?;
            let column = |(name, data_type)| ColumnDeclaration { name, data_type };
            Ok((feature_name(&feature)?, columns.into_iter().map(column).collect()))
        };
        let read = async || {
            let rows: Vec<(String, String)> = DECLARED_COLUMNS.call().all(self.read().await?.session()).await?;
            rows.into_iter().map(decode).collect::<Step<Vec<_>>>()
        };
        self.again("list what features declared", read).await
    }

    async fn pulse(&self) -> Result<Pulse> {
        self.again("take the pulse", || self.read_pulse()).await
    }

    async fn quarantine(&self, query: &QuarantineQuery) -> Result<Vec<QuarantineRow>> {
        self.again("list the quarantine", || self.read_quarantine(query)).await
    }
}

impl Tasks {
    async fn read_tasks(&self, query: &TaskQuery) -> Step<Vec<TaskRow>> {
        let (chunk, task) = query.after.map_or((i64::MIN, i64::MIN), |at| (at.data_chunk.as_micros(), at.task.0));
        let (statement, state) = match query.state {
            None => (TASKS_PAGE, None),
            Some(TaskState::Parked) => (TASKS_PAGE_PARKED, None),
            Some(state) => (TASKS_PAGE_BY_STATE, Some(state)),
        };
        let page = statement
            .bind(query.source.as_ref().map(|source| source.as_str()))
            .bind(query.file_path.as_ref().map(FilePath::as_str))
            .bind(query.from.map(Instant::as_micros))
            .bind(query.to.map(Instant::as_micros))
            .bind(chunk)
            .bind(task)
            .bind(i64::from(query.limit));
        let page = match state {
            Some(state) => page.bind(state.as_str()),
            None => page,
        };
        let rows: Vec<TaskRecord> = page.all(self.read().await?.session()).await?;
        rows.into_iter().map(TaskRecord::decode).collect()
    }

    /// In one read transaction, so that task, files and runs are of the same moment.
    async fn read_task(&self, task: TaskId) -> Step<Option<TaskDetail>> {
        let mut tx = self.read().await?;
        let row: Option<TaskRecord> = TASK_READ.bind(task.0).optional(tx.session()).await?;
        let Some(row) = row else { return Ok(None) };
        let files: Vec<FileRecord> = TASK_FILES.bind(task.0).all(tx.session()).await?;
        let runs: Vec<RunRecord> = TASK_RUNS.bind(task.0).all(tx.session()).await?;
        let counts: Vec<(String, i64)> = TASK_COUNTS.bind(task.0).all(tx.session()).await?;
        let count_of = |(reason, number)| Ok(ReasonCount { reason, count: count(number)? });
        Ok(Some(TaskDetail {
            lines: row.read_lines.map(count).transpose()?,
            rows: row.read_rows.map(count).transpose()?,
            task: row.decode()?,
            files: files.into_iter().map(FileRecord::decode).collect::<Step<_>>()?,
            runs: runs.into_iter().map(RunRecord::decode).collect::<Step<_>>()?,
            counts: counts.into_iter().map(count_of).collect::<Step<_>>()?,
        }))
    }

    async fn read_pulse(&self) -> Step<Pulse> {
        let mut tx = self.read().await?;
        let at = super::now(self.db_clock(), tx.session()).await?;
        let sources: Vec<SourcePulseRecord> = PULSE.bind(at.as_micros()).all(tx.session()).await?;
        let features: Vec<FeaturePulseRecord> = PULSE_FEATURES.call().all(tx.session()).await?;
        Ok(Pulse {
            at,
            sources: sources.into_iter().map(SourcePulseRecord::decode).collect::<Step<_>>()?,
            features: features.into_iter().map(FeaturePulseRecord::decode).collect::<Step<_>>()?,
        })
    }

    async fn read_quarantine(&self, query: &QuarantineQuery) -> Step<Vec<QuarantineRow>> {
        let (task, entry) = query.after.map_or((i64::MIN, i64::MIN), |at| (at.task.0, at.entry));
        let page = QUARANTINE_PAGE
            .bind(query.source.as_ref().map(|source| source.as_str()))
            .bind(query.task.map(|task| task.0))
            .bind(task)
            .bind(entry)
            .bind(i64::from(query.limit));
        let rows: Vec<QuarantineRecord> = page.all(self.read().await?.session()).await?;
        rows.into_iter().map(QuarantineRecord::decode).collect()
    }
}

#[derive(FromRow)]
struct TaskRecord {
    task_id: i64,
    source: String,
    source_bucket: String,
    file_path: String,
    data_chunk: i64,
    width: i64,
    ts_to_process: i64,
    state: String,
    lane: String,
    due_at: Option<i64>,
    lease: Option<i64>,
    worker: Option<String>,
    fence: i64,
    generation: i64,
    done_generation: i64,
    claims_without_verdict: i64,
    quarantined_files: i64,
    last_error: Option<String>,
    read_lines: Option<i64>,
    read_rows: Option<i64>,
    parked_runs: i64,
}

impl TaskRecord {
    fn decode(self) -> Step<TaskRow> {
        Ok(TaskRow {
            task: TaskId(self.task_id),
            source: source_name(&self.source)?,
            source_bucket: self.source_bucket,
            file_path: FilePath::new(self.file_path),
            chunk: chunk(self.data_chunk, self.width)?,
            ts_to_process: Instant::from_micros(self.ts_to_process),
            state: task_state(&self.state)?,
            lane: lane(&self.lane)?,
            due_at: instant(self.due_at),
            lease: instant(self.lease),
            worker: self.worker,
            fence: Fence(self.fence),
            generation: generation(self.generation),
            done_generation: generation(self.done_generation),
            claims_without_verdict: small_count(self.claims_without_verdict)?,
            quarantined_files: count(self.quarantined_files)?,
            parked_runs: count(self.parked_runs)?,
            last_error: self.last_error,
        })
    }
}

#[derive(FromRow)]
struct FileRecord {
    key: String,
    version: String,
    size: i64,
    state: String,
    generation: i64,
    registered_at: i64,
    reason: Option<String>,
}

impl FileRecord {
    fn decode(self) -> Step<FileRow> {
        let (key, version) = (FileKey::new(self.key), FileVersion::new(self.version));
        Ok(FileRow {
            file: InputFile { key, version, size_bytes: count(self.size)? },
            state: file_state(&self.state)?,
            generation: generation(self.generation),
            registered_at: Instant::from_micros(self.registered_at),
            reason: self.reason,
        })
    }
}

#[derive(FromRow)]
struct RunRecord {
    feature: String,
    version: i64,
    state: String,
    attempts: i64,
    claims_without_verdict: i64,
    done_generation: i64,
    visible_at: i64,
    rows: Option<i64>,
    bytes: Option<i64>,
    dropped: String,
    error: Option<String>,
    ended_at: Option<i64>,
}

impl RunRecord {
    fn decode(self) -> Step<RunRow> {
        Ok(RunRow {
            feature: feature_name(&self.feature)?,
            version: feature_version(self.version)?,
            state: run_state(&self.state)?,
            attempts: small_count(self.attempts)?,
            claims_without_verdict: small_count(self.claims_without_verdict)?,
            done_generation: generation(self.done_generation),
            visible_at: Instant::from_micros(self.visible_at),
            rows: self.rows.map(count).transpose()?,
            bytes: self.bytes.map(count).transpose()?,
            dropped: reason_counts_from_json(&self.dropped)?,
            error: self.error,
            ended_at: instant(self.ended_at),
        })
    }
}

#[derive(FromRow)]
struct StandingRecord {
    feature: String,
    newest: i64,
    newest_done_chunk: Option<i64>,
    newest_done_end: Option<i64>,
    rows: i64,
    done: i64,
    waiting: i64,
    parked: i64,
}

impl StandingRecord {
    fn decode(self) -> Step<FeatureStanding> {
        Ok(FeatureStanding {
            name: feature_name(&self.feature)?,
            newest: feature_version(self.newest)?,
            newest_done_chunk: instant(self.newest_done_chunk),
            newest_done_end: instant(self.newest_done_end),
            rows: count(self.rows)?,
            done: count(self.done)?,
            waiting: count(self.waiting)?,
            parked: count(self.parked)?,
        })
    }
}

#[derive(FromRow)]
struct SourcePulseRecord {
    source: String,
    due: i64,
    waiting: i64,
    running: i64,
    parked: i64,
    oldest_due_at: Option<i64>,
}

impl SourcePulseRecord {
    fn decode(self) -> Step<SourcePulse> {
        Ok(SourcePulse {
            source: source_name(&self.source)?,
            due: count(self.due)?,
            waiting: count(self.waiting)?,
            running: count(self.running)?,
            parked: count(self.parked)?,
            oldest_due_at: instant(self.oldest_due_at),
        })
    }
}

#[derive(FromRow)]
struct FeaturePulseRecord {
    feature: String,
    newest_done_chunk: Option<i64>,
    newest_done_end: Option<i64>,
    waiting: i64,
    parked: i64,
}

impl FeaturePulseRecord {
    fn decode(self) -> Step<FeaturePulse> {
        Ok(FeaturePulse {
            name: feature_name(&self.feature)?,
            newest_done_chunk: instant(self.newest_done_chunk),
            newest_done_end: instant(self.newest_done_end),
            waiting: count(self.waiting)?,
            parked: count(self.parked)?,
        })
    }
}

#[derive(FromRow)]
struct QuarantineRecord {
    task_id: i64,
    entry: i64,
    source: String,
    file_path: String,
    data_chunk: i64,
    key: String,
    line: Option<i64>,
    column: Option<String>,
    reason: String,
    text: String,
}

impl QuarantineRecord {
    fn decode(self) -> Step<QuarantineRow> {
        Ok(QuarantineRow {
            cursor: QuarantineCursor { task: TaskId(self.task_id), entry: self.entry },
            source: source_name(&self.source)?,
            file_path: FilePath::new(self.file_path),
            data_chunk: Instant::from_micros(self.data_chunk),
            entry: QuarantineExample {
                key: FileKey::new(self.key),
                line: self.line.map(count).transpose()?,
                column: self.column,
                reason: self.reason,
                text: self.text,
            },
        })
    }
}
