//! Postgres servers: nothing crosses a network unencrypted unless that is meant.

use std::net::IpAddr;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// The parameters that sqlx knows; it would log the value of any other.
const KNOWN: [&str; 17] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// What is wrong with a URL, to stand behind "the URL". Never repeats it: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It cannot be read.
    #[error("is not of the form `postgres://user:password@host:port/database` (percent-encode what is special)")]
    Form,
    /// It has a parameter that nobody knows.
    #[error("has an unknown parameter `{name}`")]
    UnknownParameter {
        /// The parameter's name.
        name: String,
    },
    /// It does not say whether plaintext is allowed.
    #[error("has a parameter allow_plaintext that is neither true nor false")]
    Flag,
    /// Whoever sits in between could read passwords and data.
    #[error(
        "has an sslmode under which passwords and data may cross the network unencrypted; use verify-full, or add \
         allow_plaintext=true if that is meant"
    )]
    Plaintext,
}

/// Reads `postgres://user:password@host:port/database?parameter=…`. Besides those of libpq (`sslmode`, `sslrootcert`,
/// `application_name`, …) there is the parameter `allow_plaintext=true`: passwords and data may cross a network
/// unencrypted.
///
/// Without `sslmode` the server's certificate is verified, unless the server is on this machine. An `sslmode` under
/// which the connection may be unencrypted is refused, unless the server is on this machine or plaintext is allowed.
pub fn options(url: &str) -> Result<PgConnectOptions, InvalidUrl> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    if !(base.starts_with("postgres://") || base.starts_with("postgresql://")) {
        return Err(InvalidUrl::Form);
    }
    let (mut allow_plaintext, mut has_ssl_mode) = (false, false);
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("allow_plaintext", value) => allow_plaintext = value.parse().map_err(|_| InvalidUrl::Flag)?,
            (name, _) if KNOWN.contains(&name) || name.starts_with("options[") => {
                has_ssl_mode |= matches!(name, "sslmode" | "ssl-mode");
                kept.push(pair);
            }
            (name, _) => return Err(InvalidUrl::UnknownParameter { name: name.to_owned() }),
        }
    }
    let url = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    let options = PgConnectOptions::from_str(&url).map_err(|_| InvalidUrl::Form)?;
    with_tls(options, has_ssl_mode, allow_plaintext)
}

/// sqlx would try without encryption where the server has none, and then the password crosses the network as it pleases
/// whoever sits in between.
fn with_tls(
    options: PgConnectOptions,
    has_ssl_mode: bool,
    allow_plaintext: bool,
) -> Result<PgConnectOptions, InvalidUrl> {
    let may_be_plain = is_local(&options) || allow_plaintext;
    if !has_ssl_mode {
        return Ok(options.ssl_mode(if may_be_plain { PgSslMode::Prefer } else { PgSslMode::VerifyFull }));
    }
    match options.get_ssl_mode() {
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer if !may_be_plain => Err(InvalidUrl::Plaintext),
        _ => Ok(options),
    }
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_start_matches('[').trim_end_matches(']');
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    options.get_socket().is_some() || host == "localhost" || loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Result<String, InvalidUrl> {
        options(url).map(|options| format!("{:?}", options.get_ssl_mode()))
    }

    #[test]
    fn a_connection_that_may_be_read_on_the_way_is_refused() {
        for (url, expected) in [
            ("postgres://u:secret@db.example.com/air", "VerifyFull"),
            ("postgres://u:secret@db.example.com/air?sslmode=require", "Require"),
            ("postgres://u:secret@127.0.0.1/air", "Prefer"),
            ("postgres://u:secret@[::1]:5433/air?sslmode=disable", "Disable"),
            ("postgres://u@localhost/air?sslmode=allow", "Allow"),
            ("postgres:///air?host=/var/run/postgresql", "Prefer"),
            ("postgres://db.example.com/air?sslmode=disable&allow_plaintext=true", "Disable"),
            ("postgres://db.example.com/air?allow_plaintext=true", "Prefer"),
            ("postgres://db.example.com/air?allow_plaintext=false", "VerifyFull"),
        ] {
            assert_eq!(mode(url).unwrap(), expected, "{url}");
        }
        for plain in ["disable", "allow", "prefer"] {
            let url = format!("postgres://u:secret@db.example.com/air?sslmode={plain}");
            assert_eq!(mode(&url), Err(InvalidUrl::Plaintext), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        for wrong in [
            "sqlite://secret.db",
            "postgres://u:secret@127.0.0.1:port/air",
            "postgres://u:secret@127.0.0.1/air?sslmode=secret",
            "postgres://u:secret@127.0.0.1/air?allow_plaintext=secret",
            "postgres://u@127.0.0.1/air?passwd=secret",
        ] {
            let error = options(wrong).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
