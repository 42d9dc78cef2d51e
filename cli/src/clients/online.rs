//! The online store.

use std::sync::Arc;

use neartime_model::Clock;
use neartime_stores::{OnlineStore, SqliteOnlineStore};

use crate::config;
use crate::config::{Database, Secret};

/// Opens it; `None` where the configuration has none.
pub(crate) async fn online(
    store: Option<&config::OnlineStore>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Option<Arc<dyn OnlineStore>>> {
    let Some(store) = store else { return Ok(None) };
    match &store.database {
        Database::Sqlite(path) => Ok(Some(Arc::new(SqliteOnlineStore::open(path, clock).await?))),
        Database::Server(address) => cassandra(store, address, clock).await.map(Some),
    }
}

#[cfg(feature = "cassandra")]
async fn cassandra(
    store: &config::OnlineStore,
    address: &Secret,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn OnlineStore>> {
    let address = address::read(address)?;
    let options = neartime_stores::CassandraOptions {
        contact_points: address.contact_points,
        keyspace: address.keyspace,
        username: store.username.clone().or(address.username),
        password: store.password.as_ref().map(|password| password.expose().to_owned()).or(address.password),
        datacenter: store.datacenter.clone(),
        tls: store.tls,
    };
    Ok(Arc::new(neartime_stores::CassandraOnlineStore::connect(&options, clock).await?))
}

#[cfg(not(feature = "cassandra"))]
async fn cassandra(_: &config::OnlineStore, _: &Secret, _: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn OnlineStore>> {
    Err(super::lacks::without("cassandra"))
}

#[cfg(feature = "cassandra")]
mod address {
    //! `cassandra://[user[:password]@]host[:port][,host[:port]…]/keyspace`

    use crate::config::Secret;
    use crate::exit::Invalid;

    #[derive(PartialEq, Eq)]
    pub(super) struct Address {
        pub(super) contact_points: Vec<String>,
        pub(super) keyspace: String,
        pub(super) username: Option<String>,
        pub(super) password: Option<String>,
    }

    pub(super) fn read(address: &Secret) -> Result<Address, Invalid> {
        let wrong = || Invalid(format!("`{address}` must be cassandra://host:9042/keyspace, several hosts by commas"));
        let (_, rest) = address.expose().split_once("://").ok_or_else(wrong)?;
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (hosts, keyspace) = rest.split_once('/').ok_or_else(wrong)?;
        let contact_points: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        if contact_points.iter().any(String::is_empty) || keyspace.is_empty() || keyspace.contains(['/', '?']) {
            return Err(wrong());
        }
        let (username, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((username, "")) => (Some(username.to_owned()), None),
            Some((username, password)) => (Some(username.to_owned()), Some(password.to_owned())),
            None => (None, None),
        };
        Ok(Address { contact_points, keyspace: keyspace.to_owned(), username, password })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn addresses_have_hosts_a_keyspace_and_perhaps_a_login() {
            let read = |text: &str| read(&Secret::new(text)).ok();
            let one = read("cassandra://host:9042/features").unwrap();
            assert_eq!((one.contact_points, one.keyspace.as_str()), (vec!["host:9042".to_owned()], "features"));
            let two = read("cassandra://ann:p@ss@one,two:9043/features").unwrap();
            assert_eq!(two.contact_points, ["one", "two:9043"]);
            assert_eq!((two.username.as_deref(), two.password.as_deref()), (Some("ann"), Some("p@ss")));
            for wrong in ["cassandra://host", "cassandra://host/", "cassandra:///features", "cassandra://a,/features"] {
                assert!(read(wrong).is_none(), "{wrong}");
            }
        }
    }
}
