//! The `neartime` command line: the only place that reads configuration and builds clients.
//!
//! A library, so that a house with features of its own (and the tests, with theirs) builds the same binary with
//! another list: [`main`] takes the features as values. Each verb is a file in `commands`, the configuration is read
//! in `config`, rows are printed by `output`, and `app` builds what the verbs need of the other crates.

mod air;
mod app;
mod args;
mod clients;
mod commands;
mod config;
mod console;
mod demo;
mod exit;
mod init;
mod output;
mod progress;
mod quarantine_table;
mod registry;
mod telemetry;

#[cfg(feature = "aws")]
pub use clients::bucket_puts;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser as _};
use neartime_engine::Feature;

use app::App;
use args::{Cli, Command, RunArgs};
use telemetry::Telemetry;

/// Stack of each worker thread: planning deep SQL recurses deeply, the more so without optimisation.
const STACK_BYTES: usize = 16 << 20;

/// Runs the command line of this process over `features`, and tells how it ended: 0 done; 1 `run --once` left
/// something parked or quarantined a whole file; 2 wrong usage, configuration or SQL; 3 a service is unreachable or
/// refuses us; 4 anything else.
pub fn main(features: Vec<Arc<dyn Feature>>) -> ExitCode {
    // Help, version and wrong usage end the process here, before anything else is done.
    let cli = Cli::parse();
    let telemetry = match Telemetry::start(cli.global.log_format, quiet(&cli.command), cli.global.verbose) {
        Ok(telemetry) => telemetry,
        Err(error) => return exit::report(&error),
    };
    clients::prepare();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error).context("could not start the runtime")),
    };
    // On a worker's stack, not on the main thread's.
    let ended = runtime.block_on(async { tokio::spawn(execute(cli, features)).await });
    telemetry.end();
    // What still works on a thread of its own, as a report that was told to stop, may end at any point.
    runtime.shutdown_background();
    match ended {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => exit::report(&error),
        // The panic has been printed already.
        Err(_) => ExitCode::from(exit::FAILED),
    }
}

/// What a verb logs unless it is asked for more.
fn quiet(command: &Command) -> &'static str {
    match command {
        Command::Run(RunArgs { once: false }) => "warn,neartime=info",
        Command::Run(_) | Command::Backfill(_) | Command::Online(_) => "warn",
        // What these meet in raw files is no news: it is counted, and shown by `quarantine list`.
        Command::Sql(_) => "warn,neartime_ingest=error",
        _ => "error",
    }
}

async fn execute(cli: Cli, features: Vec<Arc<dyn Feature>>) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    let command = match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "neartime", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Demo(args) => {
            demo::execute(global, features, args).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Init(args) => {
            init::execute(&global, &features, &args)?;
            return Ok(ExitCode::SUCCESS);
        }
        command => command,
    };
    let app = App::load(global, features).await?;
    commands::execute(&app, command).await
}
