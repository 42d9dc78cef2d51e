//! `neartime quarantine`: what was refused, and why.

use neartime_tasks_db::{QuarantineQuery, QuarantineRow, TaskId};

use super::tasks::{known_source, no_such_task};
use crate::app::App;
use crate::args::{QuarantineCommand, QuarantineListArgs};
use crate::output::{Cell, Rows};

/// Rows asked of the database at a time.
const PAGE: u32 = 1_000;

pub(crate) const COLUMNS: [&str; 9] =
    ["task", "source", "file_path", "data_chunk", "key", "line", "column", "reason", "text"];

pub(crate) async fn execute(app: &App, command: QuarantineCommand) -> anyhow::Result<()> {
    let QuarantineCommand::List(args) = command;
    list(app, args).await
}

async fn list(app: &App, args: QuarantineListArgs) -> anyhow::Result<()> {
    let tasks = app.tasks().await?;
    known_source(app, &*tasks, args.source.as_ref()).await?;
    if let Some(task) = args.task.map(TaskId)
        && tasks.task(task).await?.is_none()
    {
        return Err(no_such_task(task).into());
    }
    let mut query = QuarantineQuery { source: args.source, task: args.task.map(TaskId), after: None, limit: PAGE };
    let mut rows = Rows::begin(app.format(), &COLUMNS, args.limit.limit)?;
    loop {
        let page = tasks.quarantine(&query).await?;
        for row in &page {
            if !rows.row(&cells(row))? {
                return rows.finish().map(drop);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => query.after = Some(last.cursor),
            _ => return rows.finish().map(drop),
        }
    }
}

pub(crate) fn cells(row: &QuarantineRow) -> Vec<Cell> {
    vec![
        row.cursor.task.0.into(),
        row.source.as_str().into(),
        row.file_path.as_str().into(),
        row.data_chunk.into(),
        row.entry.key.as_str().into(),
        row.entry.line.into(),
        row.entry.column.clone().into(),
        row.entry.reason.as_str().into(),
        row.entry.text.as_str().into(),
    ]
}
