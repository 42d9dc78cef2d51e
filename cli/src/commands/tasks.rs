//! `neartime tasks`: the task table.

use neartime_model::SourceName;
use neartime_tasks_db::{ReasonCount, RetryRequest, TaskDetail, TaskId, TaskQuery, TaskRow, TaskState, TasksDb};

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
const SHOW: [&str; 10] =
    ["part", "name", "state", "version", "generation", "attempts", "rows", "bytes", "count", "note"];

pub(crate) async fn execute(app: &App, command: TasksCommand) -> anyhow::Result<()> {
    let tasks = app.tasks().await?;
    match command {
        TasksCommand::List(args) => list(app, &*tasks, args).await,
        TasksCommand::Show { task } => show(app.format(), &*tasks, TaskId(task)).await,
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
    let mut query =
        TaskQuery { source: args.source, state, file_path: None, from: None, to: None, after: None, limit: PAGE };
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
    let query = TaskQuery {
        source: Some(source.clone()),
        state: None,
        file_path: None,
        from: None,
        to: None,
        after: None,
        limit: 1,
    };
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

async fn show(format: Format, tasks: &dyn TasksDb, task: TaskId) -> anyhow::Result<()> {
    let detail = tasks.task(task).await?.ok_or_else(|| no_such_task(task))?;
    match format {
        Format::Table => show_tables(&detail),
        format => show_rows(format, &detail),
    }
}

/// For programs: one array. The row of the task, its first, has what `tasks list` shows of it too.
fn show_rows(format: Format, detail: &TaskDetail) -> anyhow::Result<()> {
    let (mut columns, mut rows) = (SHOW.to_vec(), parts(detail));
    for (name, cell) in LIST.into_iter().zip(listed(&detail.task)) {
        if columns.contains(&name) {
            continue;
        }
        columns.push(name);
        rows.iter_mut().for_each(|row| row.push(Cell::Null));
        rows[0][columns.len() - 1] = cell;
    }
    output::print(format, &columns, None, rows)
}

/// For people: a table for each kind of thing.
fn show_tables(detail: &TaskDetail) -> anyhow::Result<()> {
    let rows = LIST.iter().zip(listed(&detail.task)).map(|(name, cell)| vec![(*name).into(), cell]).collect();
    output::print(Format::Table, &["column", "value"], None, rows)?;
    let all = parts(detail);
    for (part, columns) in [
        ("file", &[1, 2, 4, 7, 9][..]),
        ("run", &[1, 2, 3, 4, 5, 6, 7, 9]),
        ("count", &[1, 8]),
        ("dropped", &[1, 8, 9]),
    ] {
        let of_part = |row: &&Vec<Cell>| row.first() == Some(&Cell::from(part));
        let pick = |row: &Vec<Cell>| columns.iter().map(|&at| row[at].clone()).collect();
        let rows: Vec<Vec<Cell>> = all.iter().filter(of_part).map(pick).collect();
        if !rows.is_empty() {
            let names: Vec<_> = columns.iter().map(|&at| if at == 1 { part } else { SHOW[at] }).collect();
            output::line("")?;
            output::print(Format::Table, &names, None, rows)?;
        }
    }
    Ok(())
}

/// One row for the task, each file, each run, and each reason why something was refused or left out.
fn parts(detail: &TaskDetail) -> Vec<Vec<Cell>> {
    let null = || Cell::Null;
    let task = &detail.task;
    let mut rows = vec![vec![
        "task".into(),
        format!("{} {} {}", task.source, task.file_path, task.chunk.start()).into(),
        task.state.as_str().into(),
        null(),
        task.generation.0.into(),
        task.claims_without_verdict.into(),
        detail.rows.into(),
        null(),
        detail.lines.into(),
        task.last_error.clone().into(),
    ]];
    for file in &detail.files {
        rows.push(vec![
            "file".into(),
            file.file.key.as_str().into(),
            file.state.as_str().into(),
            file.file.version.as_str().into(),
            file.generation.0.into(),
            null(),
            null(),
            file.file.size_bytes.into(),
            null(),
            file.reason.clone().into(),
        ]);
    }
    for run in &detail.runs {
        rows.push(vec![
            "run".into(),
            run.feature.as_str().into(),
            run.state.as_str().into(),
            run.version.0.into(),
            run.done_generation.0.into(),
            run.attempts.into(),
            run.rows.into(),
            run.bytes.into(),
            null(),
            run.error.clone().into(),
        ]);
    }
    rows.extend(detail.counts.iter().map(|count| counted("count", count, null())));
    for run in &detail.runs {
        rows.extend(run.dropped.iter().map(|count| counted("dropped", count, run.feature.as_str().into())));
    }
    rows
}

fn counted(part: &str, count: &ReasonCount, note: Cell) -> Vec<Cell> {
    let mut row = vec![Cell::Null; SHOW.len()];
    (row[0], row[1], row[8], row[9]) = (part.into(), count.reason.as_str().into(), count.count.into(), note);
    row
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
