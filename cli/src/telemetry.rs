//! The log, on standard error, and the traces, for a collector.

#[cfg(feature = "otel")]
mod traces;

use std::ffi::OsString;

use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::args::LogFormat;
use crate::exit::Invalid;

/// The variable that overrides what is logged.
const VARIABLE: &str = EnvFilter::DEFAULT_ENV;

/// What must be ended in order when the process ends.
#[must_use]
pub(crate) struct Telemetry {
    #[cfg(feature = "otel")]
    traces: Option<traces::Traces>,
}

impl Telemetry {
    /// Starts the log, and the traces where the environment names a collector. `RUST_LOG` overrides `quiet`, which is
    /// given the verbs asked for with `-v`.
    ///
    /// Must be called outside of any runtime: the exporter has one of its own.
    pub(crate) fn start(format: LogFormat, quiet: &str, verbose: u8) -> anyhow::Result<Self> {
        let level = level(std::env::var_os(VARIABLE), quiet, verbose)?;
        #[cfg(feature = "otel")]
        let traces = traces::Traces::from_environment()?;
        let subscriber = tracing_subscriber::registry().with(log(format, level));
        #[cfg(feature = "otel")]
        let subscriber = subscriber.with(traces.as_ref().map(traces::Traces::layer));
        // Only a second start in one process fails (tests), and then the first goes on.
        let _ = subscriber.try_init();
        Ok(Self {
            #[cfg(feature = "otel")]
            traces,
        })
    }

    /// Sends what was not sent yet. Must be called outside of any runtime.
    pub(crate) fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            traces.end();
        }
    }
}

/// What is logged. `neartime=…` stands for all crates of this house: targets are compared by how they begin.
fn level(variable: Option<OsString>, quiet: &str, verbose: u8) -> Result<EnvFilter, Invalid> {
    let Some(variable) = variable else {
        return Ok(EnvFilter::new(match verbose {
            0 => quiet,
            1 => "warn,neartime=debug",
            2 => "info,neartime=trace",
            _ => "trace",
        }));
    };
    // Not ignored: whoever set it would wait for a log that does not come.
    let wrong = |reason: &str| {
        let written = variable.display();
        Invalid(format!(
            "environment variable {VARIABLE} (`{written}`): {reason}; write it like `warn,neartime=debug`, or unset it"
        ))
    };
    let directives = variable.to_str().ok_or_else(|| wrong("it is no UTF-8"))?;
    EnvFilter::try_new(directives).map_err(|error| wrong(&error.to_string()))
}

fn log(format: LogFormat, level: EnvFilter) -> Box<dyn Layer<Registry> + Send + Sync> {
    // Each line names its task already: the spans around it are for the traces.
    let filter = level.and(filter_fn(|metadata: &Metadata<'_>| !metadata.is_span()));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        LogFormat::Text => layer.with_target(false).with_ansi(is_terminal()).with_filter(filter).boxed(),
    }
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn one_name_stands_for_all_crates() {
        let subscriber = tracing_subscriber::registry().with(level(None, "error", 1).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::enabled!(target: "neartime::app", Level::DEBUG));
            assert!(tracing::enabled!(target: "neartime_tasks_db::tables", Level::DEBUG));
            assert!(!tracing::enabled!(target: "neartime_tasks_db::tables", Level::TRACE));
            assert!(!tracing::enabled!(target: "datafusion", Level::INFO));
        });
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        let read = |text: &str| level(Some(text.into()), "error", 0).map(|filter| filter.to_string());
        assert_eq!(read("neartime=info").unwrap(), "neartime=info");
        let error = read("warn,neartime=dbug").unwrap_err().to_string();
        assert!(error.starts_with("environment variable RUST_LOG (`warn,neartime=dbug`): "), "{error}");
    }
}
