//! `neartime tasks show`: one task, in parts.

use neartime_tasks_db::{ReasonCount, TaskDetail, TaskId, TasksDb};

use super::{LIST, listed, no_such_task};
use crate::args::Format;
use crate::output::{self, Cell};

const TASK: &str = "task";
const FILE: &str = "file";
const RUN: &str = "run";
const REFUSED: &str = "count";
const DROPPED: &str = "dropped";

/// A column of parts: its name, and what a part has in it.
type Column = (&'static str, fn(&Part) -> Cell);

const STATE: Column = ("state", |part| part.state.clone());
const VERSION: Column = ("version", |part| part.version.clone());
const GENERATION: Column = ("generation", |part| part.generation.clone());
const ATTEMPTS: Column = ("attempts", |part| part.attempts.clone());
const ROWS: Column = ("rows", |part| part.rows.clone());
const BYTES: Column = ("bytes", |part| part.bytes.clone());
const COUNT: Column = ("count", |part| part.count.clone());
const NOTE: Column = ("note", |part| part.note.clone());

/// What programs get of every part.
const COLUMNS: [Column; 10] = [
    ("part", |part| part.kind.into()),
    ("name", |part| part.name.clone()),
    STATE,
    VERSION,
    GENERATION,
    ATTEMPTS,
    ROWS,
    BYTES,
    COUNT,
    NOTE,
];

/// What people get: a table for each kind of part but the task, with the names below the kind itself.
const TABLES: [(&str, &[Column]); 4] = [
    (FILE, &[STATE, GENERATION, BYTES, NOTE]),
    (RUN, &[STATE, VERSION, GENERATION, ATTEMPTS, ROWS, BYTES, NOTE]),
    (REFUSED, &[COUNT]),
    (DROPPED, &[COUNT, NOTE]),
];

/// What `tasks show` tells in a row: the task, a file, a run, or a reason why something was refused or left out.
#[derive(Default)]
struct Part {
    kind: &'static str,
    name: Cell,
    state: Cell,
    version: Cell,
    generation: Cell,
    attempts: Cell,
    rows: Cell,
    bytes: Cell,
    count: Cell,
    note: Cell,
}

pub(super) async fn execute(format: Format, tasks: &dyn TasksDb, task: TaskId) -> anyhow::Result<()> {
    let detail = tasks.task(task).await?.ok_or_else(|| no_such_task(task))?;
    match format {
        Format::Table => show_tables(&detail),
        format => show_rows(format, &detail),
    }
}

/// For programs: one array. The row of the task, its first, has what `tasks list` shows of it too.
fn show_rows(format: Format, detail: &TaskDetail) -> anyhow::Result<()> {
    let is_of_list_alone = |(name, _): &(&str, Cell)| COLUMNS.iter().all(|(shown, _)| shown != name);
    let listed: Vec<_> = LIST.into_iter().zip(listed(&detail.task)).filter(is_of_list_alone).collect();
    let columns: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).chain(listed.iter().map(|(name, _)| *name)).collect();
    let row = |part: &Part| -> Vec<Cell> {
        let of_list = |(_, cell): &(_, Cell)| if part.kind == TASK { cell.clone() } else { Cell::Null };
        COLUMNS.iter().map(|(_, cell)| cell(part)).chain(listed.iter().map(of_list)).collect()
    };
    output::print(format, &columns, None, parts(detail).iter().map(row).collect())
}

/// For people: a table for each kind of thing.
fn show_tables(detail: &TaskDetail) -> anyhow::Result<()> {
    let rows = LIST.iter().zip(listed(&detail.task)).map(|(name, cell)| vec![(*name).into(), cell]).collect();
    output::print(Format::Table, &["column", "value"], None, rows)?;
    let parts = parts(detail);
    for (kind, columns) in TABLES {
        let row = |part: &Part| -> Vec<Cell> {
            [part.name.clone()].into_iter().chain(columns.iter().map(|(_, cell)| cell(part))).collect()
        };
        let rows: Vec<_> = parts.iter().filter(|part| part.kind == kind).map(row).collect();
        if !rows.is_empty() {
            let names: Vec<_> = [kind].into_iter().chain(columns.iter().map(|(name, _)| *name)).collect();
            output::line("")?;
            output::print(Format::Table, &names, None, rows)?;
        }
    }
    Ok(())
}

/// The task first, then its files, its runs, and the reasons why something was refused or left out.
fn parts(detail: &TaskDetail) -> Vec<Part> {
    let task = &detail.task;
    let mut parts = vec![Part {
        kind: TASK,
        name: format!("{} {} {}", task.source, task.file_path, task.chunk.start()).into(),
        state: task.state.as_str().into(),
        generation: task.generation.0.into(),
        attempts: task.claims_without_verdict.into(),
        rows: detail.rows.into(),
        count: detail.lines.into(),
        note: task.last_error.clone().into(),
        ..Part::default()
    }];
    parts.extend(detail.files.iter().map(|file| Part {
        kind: FILE,
        name: file.file.key.as_str().into(),
        state: file.state.as_str().into(),
        version: file.file.version.as_str().into(),
        generation: file.generation.0.into(),
        bytes: file.file.size_bytes.into(),
        note: file.reason.clone().into(),
        ..Part::default()
    }));
    parts.extend(detail.runs.iter().map(|run| Part {
        kind: RUN,
        name: run.feature.as_str().into(),
        state: run.state.as_str().into(),
        version: run.version.0.into(),
        generation: run.done_generation.0.into(),
        attempts: run.attempts.into(),
        rows: run.rows.into(),
        bytes: run.bytes.into(),
        note: run.error.clone().into(),
        ..Part::default()
    }));
    parts.extend(detail.counts.iter().map(|count| counted(REFUSED, count)));
    for run in &detail.runs {
        let note = Cell::from(run.feature.as_str());
        parts.extend(run.dropped.iter().map(|count| Part { note: note.clone(), ..counted(DROPPED, count) }));
    }
    parts
}

fn counted(kind: &'static str, count: &ReasonCount) -> Part {
    Part { kind, name: count.reason.as_str().into(), count: count.count.into(), ..Part::default() }
}
