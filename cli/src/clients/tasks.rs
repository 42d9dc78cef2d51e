//! The task database.

use std::sync::Arc;

use neartime_model::Clock;
use neartime_tasks_db::{SqliteOptions, SqliteTasks, TasksDb};

use crate::config::{Database, Secret, Tasks};

/// Opens it and brings its tables up to date.
pub(crate) async fn tasks(tasks: &Tasks, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn TasksDb>> {
    match &tasks.database {
        Database::Sqlite(path) => Ok(Arc::new(SqliteTasks::open(&SqliteOptions::new(path, clock)).await?)),
        Database::Server(address) => postgres(address, tasks.plaintext, clock).await,
    }
}

async fn postgres(_: &Secret, _: bool, _: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn TasksDb>> {
    unreachable!("refused when the configuration was read")
}
