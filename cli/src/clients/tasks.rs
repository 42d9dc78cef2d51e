//! The task database.

use std::sync::Arc;

use anyhow::Context as _;
use neartime_model::Clock;
use neartime_tasks_db::{SqliteOptions, Tasks, TasksDb};

use crate::config::{Database, Secret};

/// Opens it and brings its tables up to date.
pub(crate) async fn tasks(database: &Database, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn TasksDb>> {
    match database {
        Database::Sqlite(path) => {
            let opened = Tasks::open(&SqliteOptions::new(path, clock)).await;
            Ok(Arc::new(opened.with_context(|| format!("could not use the task database {}", path.display()))?))
        }
        Database::Server(address) => postgres(address, clock).await,
    }
}

#[cfg(feature = "postgres")]
async fn postgres(address: &Secret, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn TasksDb>> {
    use neartime_tasks_db::PostgresOptions;
    Ok(Arc::new(Tasks::connect(&PostgresOptions::from_url(address.expose(), clock)?).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &Secret, _: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn TasksDb>> {
    Err(super::lacks::without("postgres"))
}
