//! What keeps one source from being listed keeps no other from being worked on.

use neartime_tasks_db::TaskQuery;

use super::*;
use crate::{Edges, Settings, testing};

#[tokio::test]
async fn a_location_that_is_away_does_not_hold_back_the_other_sources() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let away = testing::source_named("away", folders[0].path());
    let there = testing::source(folders[1].path());
    std::fs::remove_dir(folders[0].path().join("raw")).unwrap();
    let file = folders[1].path().join("raw/2018/08/01/1040.gz");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "{\"user\": \"u\"}\n").unwrap();
    let edges = Edges { sources: vec![away, there], ..testing::edges(folders[1].path()).await };
    let tasks = std::sync::Arc::clone(&edges.tasks);
    let settings = Settings { patience: Duration::ZERO, ..testing::settings() };
    let ended = Scheduler::new(edges, settings).unwrap().run_once().await;
    assert!(matches!(&ended, Err(OnceError::ServiceAway { note, .. }) if note.contains("away")), "{ended:?}");
    let listed = tasks.tasks(&TaskQuery::default()).await.unwrap();
    assert_eq!(listed.iter().map(|task| task.source.as_str()).collect::<Vec<_>>(), ["events"]);
}
