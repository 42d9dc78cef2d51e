//! The log, on standard error.

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts the log. `RUST_LOG` overrides `default`, which is given the verbs asked for with `-v`.
pub(crate) fn start(format: LogFormat, quiet: &str, verbose: u8) {
    let directives = match verbose {
        0 => quiet,
        1 => "warn,neartime=debug",
        2 => "info,neartime=trace",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(expanded(directives)));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Only a second start in one process fails (tests), and then the first goes on.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_target(false).with_ansi(is_terminal()).try_init(),
    };
}

/// `neartime=…` stands for all crates of this house.
fn expanded(directives: &str) -> String {
    let house = ["", "_air", "_engine", "_features", "_ingest", "_model", "_scheduler", "_stores", "_tasks_db"];
    let expand = |directive: &str| match directive.strip_prefix("neartime=") {
        Some(level) => house.map(|name| format!("neartime{name}={level}")).join(","),
        None => directive.to_owned(),
    };
    directives.split(',').map(expand).collect::<Vec<_>>().join(",")
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}
