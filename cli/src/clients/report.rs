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

#[cfg(feature = "postgres")]
async fn postgres(address: &Secret) -> anyhow::Result<Arc<dyn Publisher>> {
    Ok(Arc::new(neartime_air::PgPublisher::open(address.expose()).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &Secret) -> anyhow::Result<Arc<dyn Publisher>> {
    Err(super::lacks::without("postgres"))
}
