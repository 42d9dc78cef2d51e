//! `neartime tasks`: the task table.

mod show;

use neartime_model::SourceName;
use neartime_tasks_db::{RetryRequest, TaskId, TaskQuery, TaskRow, TaskState, TasksDb};

use crate::app::App;
use crate::args::{Format, RetryArgs, State, TasksCommand, TasksListArgs};
use crate::exit::Invalid;
use crate::output::{self, Cell, Rows};

/// Rows asked of the database at a time.
const PAGE: u32 = 1_000;

/// What is asked for most comes first: a terminal shows as much as fits.
const LIST: [&str; 13] = [
    "task",
    "state",
    "source",
    "file_path",
    "data_chunk",
    "ts_to_process",
    "due_at",
    "generation",
    "done_generation",
    "quarantined_files",
    "parked_runs",
    "source_bucket",
    "error",
];

pub(crate) async fn execute(app: &App, command: TasksCommand) -> anyhow::Result<()> {
    let tasks = app.tasks().await?;
    match command {
        TasksCommand::List(args) => list(app, &*tasks, args).await,
        TasksCommand::Show { task } => show::execute(app.format(), &*tasks, TaskId(task)).await,
        TasksCommand::Retry(args) => retry(app.format(), &*tasks, args).await,
    }
}

async fn list(app: &App, tasks: &dyn TasksDb, args: TasksListArgs) -> anyhow::Result<()> {
    known_source(app, tasks, args.source.as_ref()).await?;
    let state = args.state.map(|state| match state {
        State::Waiting => TaskState::Waiting,
        State::Running => TaskState::Running,
        State::Done => TaskState::Done,
        State::Parked => TaskState::Parked,
    });
    let mut query = TaskQuery { source: args.source, state, limit: PAGE, ..TaskQuery::default() };
    let mut rows = Rows::begin(app.format(), &LIST, args.limit.limit)?;
    loop {
        let page = tasks.tasks(&query).await?;
        for row in &page {
            if !rows.row(&listed(row))? {
                return rows.finish().map(drop);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => query.after = Some(last.cursor()),
            _ => return rows.finish().map(drop),
        }
    }
}

/// Refuses a source that is not configured and has no task either: it is misspelt.
pub(super) async fn known_source(app: &App, tasks: &dyn TasksDb, source: Option<&SourceName>) -> anyhow::Result<()> {
    let Some(source) = source else { return Ok(()) };
    if app.config().sources.iter().any(|configured| configured.source.name == *source) {
        return Ok(());
    }
    let query = TaskQuery { source: Some(source.clone()), limit: 1, ..TaskQuery::default() };
    if tasks.tasks(&query).await?.is_empty() {
        return Err(Invalid(format!("there is no source `{source}` in the configuration, and no task of one")).into());
    }
    Ok(())
}

fn listed(row: &TaskRow) -> Vec<Cell> {
    vec![
        row.task.0.into(),
        row.state.as_str().into(),
        row.source.as_str().into(),
        row.file_path.as_str().into(),
        row.chunk.start().into(),
        row.ts_to_process.into(),
        row.due_at.into(),
        row.generation.0.into(),
        row.done_generation.0.into(),
        row.quarantined_files.into(),
        row.parked_runs.into(),
        row.source_bucket.as_str().into(),
        row.last_error.clone().into(),
    ]
}

async fn retry(format: Format, tasks: &dyn TasksDb, args: RetryArgs) -> anyhow::Result<()> {
    let ids: Vec<TaskId> = args.tasks.into_iter().map(TaskId).collect();
    for &task in &ids {
        if tasks.task(task).await?.is_none() {
            return Err(no_such_task(task).into());
        }
    }
    let request = RetryRequest { tasks: ids, accept_missing: args.accept_missing, ..RetryRequest::default() };
    let retried = tasks.retry(&request).await?;
    match format {
        Format::Table if retried == 0 => {
            output::line("nothing to retry: no such task is parked, failing or incomplete")
        }
        Format::Table => output::line(format_args!("{retried} tasks are due again")),
        format => output::print(format, &["retried"], None, vec![vec![retried.into()]]),
    }
}

pub(super) fn no_such_task(task: TaskId) -> Invalid {
    Invalid(format!("there is no task {task}: `neartime tasks list` shows their numbers"))
}
