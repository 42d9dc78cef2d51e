//! The verbs, a file each. Each takes the application and its own arguments; the rows go to standard output.

pub(crate) mod air;
mod athena;
mod backfill;
mod check;
pub(crate) mod features;
pub(crate) mod get;
mod import;
mod online;
pub(crate) mod quarantine;
pub(crate) mod run;
mod source;
pub(crate) mod sql;
mod tasks;

pub(crate) use check::Unreachable;

use std::process::ExitCode;

use crate::app::App;
use crate::args::Command;

pub(crate) async fn execute(app: &App, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => return Box::pin(run::execute(app, args)).await,
        Command::Import(args) => import::execute(app, args).await?,
        Command::Check => check::execute(app).await?,
        Command::Tasks(command) => tasks::execute(app, command).await?,
        Command::Quarantine(command) => quarantine::execute(app, command).await?,
        Command::Features => features::execute(app).await?,
        Command::Sql(args) => sql::execute(app, args).await?,
        Command::Get(args) => get::execute(app, args).await?,
        Command::Online(command) => online::execute(app, command).await?,
        Command::Backfill(args) => backfill::execute(app, args).await?,
        Command::Air(command) => air::execute(app, command).await?,
        Command::Source(command) => source::execute(app, command).await?,
        Command::Athena(command) => athena::execute(app, command)?,
        Command::Demo(_) | Command::Init(_) | Command::Completions { .. } => {
            unreachable!("these need no configuration")
        }
    }
    Ok(ExitCode::SUCCESS)
}
