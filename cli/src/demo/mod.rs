//! `neartime demo`: a small raw reservoir, the scheduler's own code over it, and what came out.
//!
//! What was planted is worked out event by event while the files are written; every answer shown is compared with it,
//! and the demo succeeds only if all agree.

mod audience;
mod chance;
mod deliveries;
mod files;
mod horizontals;
mod planted;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use datafusion::arrow::array::RecordBatch;
use neartime_air::{ShowQuery, Sort};
use neartime_engine::Feature;
use neartime_tasks_db::{QuarantineQuery, TaskQuery};

use crate::air::Report;
use crate::app::App;
use crate::args::{DemoArgs, Format, Global};
use crate::commands::run::Ran;
use crate::commands::{self, quarantine, run, sql};
use crate::config::Environment;
use crate::exit::Invalid;
use crate::output::{self, Cell, Column, Rows, names};
use planted::{Planted, Question};

const CONFIG: &str = include_str!("neartime.toml");
/// Rows of the long lists that are shown.
const SHOWN: usize = 12;

pub(crate) async fn execute(global: Global, features: Vec<Arc<dyn Feature>>, args: DemoArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let dir = directory(args.dir)?;
    let planted = Planted::write(&dir).with_context(|| format!("could not write into {}", dir.display()))?;
    std::fs::write(dir.join("neartime.toml"), CONFIG)?;
    let global = Global { config: dir.join("neartime.toml"), ..global };
    // Its own folder and configuration: overrides are meant for another.
    let app = App::with_environment(global, features, Environment::default()).await?;
    let mut story = Story { app, planted, dir, wrong: Vec::new() };
    story.tell().await?;
    if !story.wrong.is_empty() {
        bail!("the demo did not show what it planted:\n  {}", story.wrong.join("\n  "));
    }
    story.next_steps(started)
}

/// A directory of its own: what was there already would be counted too.
fn directory(wanted: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let Some(dir) = wanted else {
        let dir = tempfile::Builder::new().prefix("neartime-demo-").tempdir().context("could not make a directory")?;
        return Ok(dir.keep());
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    if std::fs::read_dir(&dir)?.next().is_some() {
        let problem = format!("{} is not empty: the demo needs a directory of its own", dir.display());
        return Err(Invalid(problem).into());
    }
    Ok(dir)
}

/// The demo as it unfolds.
struct Story {
    app: App,
    planted: Planted,
    dir: PathBuf,
    /// What was not as planted.
    wrong: Vec<String>,
}

impl Story {
    async fn tell(&mut self) -> anyhow::Result<()> {
        title(format_args!("A raw reservoir in {}", self.dir.display()))?;
        output::line("App events by brand and platform, segments and site visits, ad deliveries; one file is broken.")?;
        self.process("Everything that is due").await?;
        self.planted.write_late_file(&self.dir)?;
        title("A late file for olx/android 10:10 arrives: its chunk alone is due again")?;
        let ran = self.process("The chunk again, with the late file").await?;
        self.expect("tasks that the late file made due", &ran.completed_tasks, &1);
        self.show_tasks().await?;
        self.show_features().await?;
        for question in self.planted.questions() {
            self.ask(question).await?;
        }
        self.look_up().await?;
        self.report().await?;
        self.show_quarantine().await
    }

    async fn process(&mut self, what: &str) -> anyhow::Result<Ran> {
        let started = Instant::now();
        let ran = run::run_once(&self.app, std::future::pending()).await?;
        let took = started.elapsed().as_secs_f64();
        output::line(format_args!("{what}: {} tasks, {} lines, {took:.1} s", ran.completed_tasks, ran.lines))?;
        self.expect("parked tasks", &ran.summary.parked_tasks, &0);
        self.expect("parked runs", &ran.summary.parked_runs, &0);
        Ok(ran)
    }

    async fn show_tasks(&mut self) -> anyhow::Result<()> {
        title("The task table: a row for each chunk of each path (neartime tasks list)")?;
        let tasks = self.app.tasks().await?;
        let rows = tasks.tasks(&TaskQuery { limit: 1_000, ..TaskQuery::default() }).await?;
        let columns =
            ["task", "source", "file_path", "data_chunk", "ts_to_process", "state", "generation", "quarantined_files"];
        let row = |task: &neartime_tasks_db::TaskRow| -> Vec<Cell> {
            vec![
                task.task.0.into(),
                task.source.as_str().into(),
                task.file_path.as_str().into(),
                task.chunk.start().into(),
                task.ts_to_process.into(),
                task.state.as_str().into(),
                task.generation.0.into(),
                task.quarantined_files.into(),
            ]
        };
        // Those with something to tell first.
        let mut shown: Vec<_> = rows.iter().collect();
        shown.sort_by_key(|task| (task.quarantined_files == 0, std::cmp::Reverse(task.generation)));
        output::print(Format::Table, &columns, Some(SHOWN), shown.into_iter().map(row).collect())?;
        more(rows.len())?;
        let done = rows.iter().filter(|task| task.state == neartime_tasks_db::TaskState::Done).count();
        self.expect("tasks done", &(done as u64), &self.planted.tasks());
        self.expect("tasks", &(rows.len() as u64), &self.planted.tasks());
        let broken: u64 = rows.iter().map(|task| task.quarantined_files).sum();
        self.expect("quarantined files", &broken, &1);
        Ok(())
    }

    async fn show_features(&mut self) -> anyhow::Result<()> {
        title("The features (neartime features)")?;
        let rows = commands::features::rows(&self.app).await?;
        let shown = [0, 1, 2, 3, 4, 6, 7, 8];
        let names = shown.map(|at| commands::features::COLUMNS[at]);
        let pick = |row: Vec<Cell>| shown.map(|at| row[at].clone()).to_vec();
        output::print(Format::Table, &names, None, rows.into_iter().map(pick).collect())
    }

    async fn ask(&mut self, question: Question) -> anyhow::Result<()> {
        title(question.title)?;
        output::line(format_args!("neartime sql \"{}\"", question.sql))?;
        let batches = sql::answer(&self.app, question.sql).await?.batches;
        show(&batches)?;
        self.expect(question.title, &cells(&batches)?, &question.rows);
        Ok(())
    }

    async fn look_up(&mut self) -> anyhow::Result<()> {
        let user = self.planted.busiest_poster().to_owned();
        title("A lookup in the online store: one row for each combination of the other keys")?;
        output::line(format_args!("neartime get user_num_posts --id {user}"))?;
        let feature = "user_num_posts".parse().expect("a constant of the demo");
        let rows = [commands::get::lookup(&self.app, &feature, &user, None).await?];
        show(&rows)?;
        let mut found = cells(&rows)?;
        found.sort();
        self.expect("the posts of the busiest user", &found, &self.planted.posts_of(&user));
        Ok(())
    }

    async fn report(&mut self) -> anyhow::Result<()> {
        title("The Audience Index Report: who visits what more than one would expect (neartime air run, air show)")?;
        let report = Report::open(&self.app, &self.app.registry()?).await?;
        let Some(made) = report.run(None, report.next_fence().await?).await? else {
            bail!("there is nothing to make a report from");
        };
        let query = ShowQuery { sort: Some(Sort::Index), ..ShowQuery::default() };
        commands::air::print(&self.app, Format::Table, query, Some(SHOWN)).await?;
        more(made.len())?;
        for row in made.rows().filter(|row| !row.suppressed) {
            let planted = self.planted.users_of(row.segment, row.site);
            let what = format!("users of segment {} on site {}", row.segment, row.site);
            self.expect(&what, &row.segment_site_users.map(|users| users as usize), &Some(planted));
        }
        self.expect(
            "whether the report found what draws whom",
            &made.rows().any(|row| row.significant == Some(true)),
            &true,
        );
        Ok(())
    }

    async fn show_quarantine(&mut self) -> anyhow::Result<()> {
        title("What was refused, and why (neartime quarantine list)")?;
        let tasks = self.app.tasks().await?;
        let rows = tasks.quarantine(&QuarantineQuery { source: None, task: None, after: None, limit: 1_000 }).await?;
        let shown = [1, 4, 5, 6, 7, 8];
        let names = shown.map(|at| quarantine::COLUMNS[at]);
        let pick = |row: &neartime_tasks_db::QuarantineRow| {
            let cells = quarantine::cells(row);
            shown.map(|at| shortened(&cells[at])).to_vec()
        };
        output::print(Format::Table, &names, Some(SHOWN), rows.iter().map(pick).collect())?;
        self.expect("quarantine entries", &rows.len(), &self.planted.quarantined());
        Ok(())
    }

    /// Notes what is not as planted.
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, planted: &T) {
        if found != planted {
            self.wrong.push(format!("{what}: planted {planted:?}, found {found:?}"));
        }
    }

    fn next_steps(&self, started: Instant) -> anyhow::Result<()> {
        let dir = self.dir.display();
        title(format_args!("All as planted, in {:.1} s. What to try next", started.elapsed().as_secs_f64()))?;
        if let Some(program) = unknown_to_shell() {
            output::line(format_args!("alias neartime={}", program.display()))?;
        }
        output::line(format_args!(
            "cd {dir}\n\
             neartime sql \"select * from features_store.user_segments limit 5\"\n\
             neartime sql \"select event_name, count(*) from raw.horizontals group by 1 order by 2 desc\" --format csv\n\
             neartime get user_sites --id {} --json\n\
             neartime tasks show 1\n\
             neartime run            # the daemon: copy a file into raw-data-reservoir and watch; ctrl-C stops it\n\
             Edit neartime.toml (a feature of your own is a [[feature]] table), then: neartime check",
            self.planted.busiest_visitor(),
        ))
    }
}

/// This program, if the shell would not find it under its name.
fn unknown_to_shell() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join("neartime").is_file());
    if is_there { None } else { std::env::current_exe().ok() }
}

fn title(text: impl std::fmt::Display) -> anyhow::Result<()> {
    output::line(format_args!("\n== {text}"))
}

fn more(rows: usize) -> anyhow::Result<()> {
    match rows.checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => output::line(format_args!("… and {more} more")),
    }
}

/// Raw text is long, and this is a first look.
fn shortened(cell: &Cell) -> Cell {
    match cell {
        Cell::Text(text) if text.chars().count() > 60 => text.chars().take(59).chain(['…']).collect::<String>().into(),
        cell => cell.clone(),
    }
}

fn show(batches: &[RecordBatch]) -> anyhow::Result<()> {
    let Some(first) = batches.first() else { return output::line("(no rows)") };
    let schema = first.schema();
    let mut rows = Rows::begin(Format::Table, &names(&schema), Some(usize::MAX))?;
    for batch in batches {
        rows.batch(batch)?;
    }
    rows.finish()?;
    Ok(())
}

/// Every value as text, null as empty text.
fn cells(batches: &[RecordBatch]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<Column> = batch.columns().iter().map(Column::new).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = |column: &Column| column.cell(row).map(|cell| cell.to_string());
            rows.push(columns.iter().map(cell).collect::<Result<_, _>>()?);
        }
    }
    Ok(rows)
}
