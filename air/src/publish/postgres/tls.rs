//! Which servers may be reached without TLS: the same rule as for the task table.

use std::net::IpAddr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::error::AirError;

/// Refuses an address that would send the password, or the report, in the clear over a network.
pub(super) fn check(options: &PgConnectOptions, plaintext: bool) -> Result<(), AirError> {
    let sure = matches!(options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    if sure || plaintext || is_local(options) {
        return Ok(());
    }
    Err(AirError::Invalid(format!(
        "air: `database` may reach {} without TLS: add sslmode=verify-full (or require) to its address",
        options.get_host()
    )))
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> bool {
        check(&url.parse().unwrap(), false).is_err()
    }

    #[test]
    fn off_this_machine_only_what_is_sure_to_be_tls() {
        for host in ["127.0.0.1:5432", "localhost", "[::1]:5433"] {
            assert!(!refused(&format!("postgres://me:secret@{host}/db?sslmode=disable")), "{host}");
        }
        for mode in ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=disable"] {
            assert!(refused(&format!("postgres://me:secret@db.example.com/db{mode}")), "{mode}");
        }
        for mode in ["require", "verify-ca", "verify-full"] {
            assert!(!refused(&format!("postgres://me:secret@db.example.com/db?sslmode={mode}")), "{mode}");
        }
        let options = "postgres://me:secret@db.example.com/db".parse().unwrap();
        assert!(check(&options, true).is_ok());
        let error = check(&options, false).unwrap_err().to_string();
        assert!(error.contains("sslmode=verify-full") && !error.contains("secret"), "{error}");
    }
}
