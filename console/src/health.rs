//! Whether the process does what it is there for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use neartime_model::SourceName;

/// What stands in the way of readiness, told as it happens.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    life: Life,
    /// The channels whose last try broke off, and why.
    failing: BTreeMap<(SourceName, &'static str), String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Starting,
    Running,
    Stopping,
}

impl Health {
    /// Discovery and work have begun.
    pub fn started(&self) {
        self.lock().life = Life::Running;
    }

    /// No new work is taken.
    pub fn stopping(&self) {
        self.lock().life = Life::Stopping;
    }

    /// A channel of a source works.
    pub fn discovered(&self, source: &SourceName, channel: &'static str) {
        let mut state = self.lock();
        if !state.failing.is_empty() {
            state.failing.remove(&(source.clone(), channel));
        }
    }

    /// A channel of a source broke off.
    pub fn discovery_failed(&self, source: &SourceName, channel: &'static str, error: &str) {
        self.lock().failing.insert((source.clone(), channel), error.to_owned());
    }

    /// Why the process is not ready, in sentences; none if it is.
    pub fn obstacles(&self) -> Vec<String> {
        let state = self.lock();
        let life = match state.life {
            Life::Starting => Some("discovery has not started yet".to_owned()),
            Life::Running => None,
            Life::Stopping => Some("the process is stopping".to_owned()),
        };
        let failing = state.failing.iter();
        let failing =
            failing.map(|((source, channel), error)| format!("{channel} of source `{source}` fails: {error}"));
        life.into_iter().chain(failing).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_while_it_runs_and_every_channel_works() {
        let (health, source) = (Health::default(), SourceName::new("visits").unwrap());
        assert_eq!(health.obstacles(), ["discovery has not started yet"]);
        health.started();
        assert!(health.obstacles().is_empty());
        health.discovery_failed(&source, "listing", "the bucket is gone");
        health.discovered(&source, "queue");
        assert_eq!(health.obstacles(), ["listing of source `visits` fails: the bucket is gone"]);
        health.discovered(&source, "listing");
        assert!(health.obstacles().is_empty());
        health.stopping();
        assert_eq!(health.obstacles(), ["the process is stopping"]);
    }
}
