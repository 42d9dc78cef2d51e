//! Text that must never be shown: passwords, and addresses that may hold one.

use std::fmt;

/// A value whose `Debug` and `Display` show no secret: of an address, all but the password; of other text, nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the client that needs it.
    #[cfg_attr(
        not(any(test, feature = "cassandra", feature = "postgres")),
        expect(dead_code, reason = "no client of this build logs in anywhere")
    )]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

/// `scheme://user:***@host/…` without its query (drivers take passwords there too); `***` for what is no address.
fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return "***".to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // The last `@` ends the login: a password that was not percent-encoded may hold one itself, and slashes too.
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for (text, shown) in [
            ("postgres://ann:hunter2@db:5432/tasks", "postgres://ann:***@db:5432/tasks"),
            ("postgres://ann:p@ss/hunter2@db/tasks", "postgres://ann:***@db/tasks"),
            ("postgres://db/tasks?password=hunter2", "postgres://db/tasks"),
            ("cassandra://host:9042/keyspace", "cassandra://host:9042/keyspace"),
            ("hunter2", "***"),
        ] {
            let secret = Secret::new(text);
            assert_eq!(secret.to_string(), shown);
            assert!(!format!("{secret:?}").contains("hunter2"));
            assert_eq!(secret.expose(), text);
        }
    }
}
