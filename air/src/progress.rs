//! How far a report is, for people who wait for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// So many files of the features store are read and counted, of so many.
    Reading(usize, usize),
    /// A report of so many rows is being published.
    Publishing(usize),
}

/// Who is told how far a report is; by default nobody.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Stage) + Send + Sync>>);

/// Counts files that are read on many threads.
#[derive(Debug)]
pub(crate) struct Steps {
    progress: Progress,
    done: AtomicUsize,
    all: usize,
}

impl Progress {
    /// Calls `told` from the threads that work, so it should be quick.
    pub fn new(told: impl Fn(Stage) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    pub(crate) fn tell(&self, stage: Stage) {
        if let Some(told) = &self.0 {
            told(stage);
        }
    }

    pub(crate) fn steps(&self, all: usize) -> Steps {
        Steps { progress: self.clone(), done: AtomicUsize::new(0), all }
    }
}

impl Steps {
    /// One more is done.
    pub(crate) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.progress.tell(Stage::Reading(done, self.all));
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(told)" } else { "Progress(silent)" })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading(done, all) => write!(f, "reading features: {done} of {all} files"),
            Self::Publishing(rows) => write!(f, "publishing {rows} rows"),
        }
    }
}
