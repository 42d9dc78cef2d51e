//! Progress of long work on standard error: a bar on a terminal, plain lines elsewhere.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Plain lines come no more often than this.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Shows how far something is; may be told from any thread.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
}

impl Progress {
    pub(crate) fn begin(what: impl Display) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is constant");
            bar.set_style(style);
            bar.set_message(what.to_string());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, last_line: Mutex::new(Instant::now()) }
    }

    /// Tells how far it is.
    pub(crate) fn tell(&self, what: impl Display) {
        if let Some(bar) = &self.bar {
            return bar.set_message(what.to_string());
        }
        let mut last_line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if last_line.elapsed() >= BETWEEN_LINES {
            eprintln!("{what}");
            *last_line = Instant::now();
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
