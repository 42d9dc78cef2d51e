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
    let (address, plaintext) = plaintext::split(address.expose());
    Ok(Arc::new(neartime_air::PgPublisher::open(&address, plaintext).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &Secret) -> anyhow::Result<Arc<dyn Publisher>> {
    Err(super::lacks::without("postgres"))
}

#[cfg(feature = "postgres")]
mod plaintext {
    //! `allow_plaintext=true` in an address, as the task database understands it.

    /// The address without it, and whether it was there.
    pub(super) fn split(address: &str) -> (String, bool) {
        let Some((base, query)) = address.split_once('?') else { return (address.to_owned(), false) };
        let (allowed, others): (Vec<_>, Vec<_>) = query.split('&').partition(|&pair| pair == "allow_plaintext=true");
        let others = others.join("&");
        let address = if others.is_empty() { base.to_owned() } else { format!("{base}?{others}") };
        (address, !allowed.is_empty())
    }

    #[cfg(test)]
    mod tests {
        use super::split;

        #[test]
        fn the_other_parameters_stay() {
            for (address, rest, allowed) in [
                ("postgres://db/air", "postgres://db/air", false),
                ("postgres://db/air?allow_plaintext=true", "postgres://db/air", true),
                ("postgres://db/air?sslmode=prefer&allow_plaintext=true", "postgres://db/air?sslmode=prefer", true),
                ("postgres://db/air?allow_plaintext=false", "postgres://db/air?allow_plaintext=false", false),
            ] {
                assert_eq!(split(address), (rest.to_owned(), allowed));
            }
        }
    }
}
