//! The database that the Audience Index Report is published in.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use neartime_air::{AirError, LiveReport, Publisher, Report, Row, ShowQuery, SqlitePublisher};
use neartime_model::{Classify as _, ErrorKind, chain};
use tokio::sync::OnceCell;

use crate::config::{Air, Database, Secret};

/// Opens the place where reports are published.
pub(crate) async fn publisher(air: &Air) -> anyhow::Result<Arc<dyn Publisher>> {
    match &air.database {
        Database::Sqlite(path) => Ok(Arc::new(SqlitePublisher::open(path).await?)),
        Database::Server(address) => postgres(address).await,
    }
}

/// The same for a process that has other work: a database that is away is opened when it is needed next.
pub(crate) async fn patient_publisher(air: &Air) -> anyhow::Result<Arc<dyn Publisher>> {
    match publisher(air).await {
        Err(error) if error.downcast_ref::<AirError>().is_some_and(|error| error.kind() == ErrorKind::Unavailable) => {
            tracing::warn!(error = chain(&*error), "the report's database is away; everything else goes on");
            Ok(Arc::new(Patient { air: air.clone(), opened: Arc::default() }))
        }
        opened => opened,
    }
}

/// A publisher whose database was away.
#[derive(Clone, Debug)]
struct Patient {
    air: Air,
    opened: Arc<OnceCell<Arc<dyn Publisher>>>,
}

impl Patient {
    async fn opened(&self) -> Result<&Arc<dyn Publisher>, AirError> {
        let open = async || {
            let opened = publisher(&self.air).await;
            opened.map_err(|error| error.downcast().unwrap_or_else(|other| AirError::Invalid(other.to_string())))
        };
        self.opened.get_or_try_init(open).await
    }
}

#[async_trait]
impl Publisher for Patient {
    async fn publish(&self, report: &Report) -> Result<(), AirError> {
        self.opened().await?.publish(report).await
    }

    async fn live(&self) -> Result<Option<LiveReport>, AirError> {
        self.opened().await?.live().await
    }

    fn show(&self, query: &ShowQuery) -> BoxStream<'static, Result<Row<String>, AirError>> {
        let (this, query) = (self.clone(), query.clone());
        let rows = async move { Ok(this.opened().await?.show(&query)) };
        stream::once(rows).try_flatten().boxed()
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
