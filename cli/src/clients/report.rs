//! The database that the Audience Index Report is published in.

use std::sync::Arc;

use neartime_air::{Publisher, SqlitePublisher};

use crate::config::{Air, Database, Secret};

/// Opens the place where reports are published.
pub(crate) async fn publisher(air: &Air) -> anyhow::Result<Arc<dyn Publisher>> {
    match &air.database {
        Database::Sqlite(path) => Ok(Arc::new(SqlitePublisher::open(path).await?)),
        Database::Server(address) => postgres(address).await,
    }
}

async fn postgres(_: &Secret) -> anyhow::Result<Arc<dyn Publisher>> {
    unreachable!("refused when the configuration was read")
}
