//! This machine's clock and the task database's.

use neartime_model::{Classify, Clock, ErrorKind, Span};
use neartime_tasks_db::TasksDb;

/// How far they may be apart: fences are the database's instants, and stores compare them with this machine's.
const MOST: Span = Span::from_secs(60);

/// Two clocks that disagree.
#[derive(Debug, thiserror::Error)]
#[error("this machine's clock is {off} {direction} the task database's: set both clocks right (NTP)")]
pub(crate) struct ClocksDisagree {
    off: Span,
    direction: &'static str,
}

impl Classify for ClocksDisagree {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

/// Refuses clocks that are too far apart.
pub(crate) async fn agree(tasks: &dyn TasksDb, clock: &dyn Clock) -> anyhow::Result<()> {
    let before = clock.now();
    let theirs = tasks.now().await?;
    let after = clock.now();
    // Whatever the answer took lies between the two.
    let (ahead, behind) = (before - theirs, theirs - after);
    match () {
        () if ahead > MOST => Err(ClocksDisagree { off: ahead, direction: "ahead of" }.into()),
        () if behind > MOST => Err(ClocksDisagree { off: behind, direction: "behind" }.into()),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use neartime_model::{ManualClock, SystemClock};
    use neartime_tasks_db::{SqliteOptions, SqliteTasks};

    use super::*;

    #[tokio::test]
    async fn a_minute_is_the_most() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = Arc::new(ManualClock::new("2024-03-01T00:00:00Z".parse().unwrap()));
        let options = SqliteOptions::new(folder.path().join("tasks.db"), Arc::new(SystemClock));
        let tasks = SqliteTasks::open(&options.with_clock(Arc::clone(&theirs) as Arc<dyn Clock>)).await.unwrap();
        for (secs, said) in [(0, None), (59, None), (-59, None), (61, Some("1m1s ahead of")), (-61, Some("behind"))] {
            let ours = ManualClock::new(theirs.now() + Span::from_secs(secs));
            let said_now = agree(&tasks, &ours).await.err().map(|error| error.to_string());
            assert_eq!(said_now.is_some(), said.is_some(), "{secs}: {said_now:?}");
            if let (Some(said_now), Some("behind")) = (said_now, said) {
                assert!(said_now.contains("behind"), "{said_now}");
            }
        }
    }
}
