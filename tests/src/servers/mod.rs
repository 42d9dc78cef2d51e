//! The real servers that tests run against: `infra/dev/services run cargo test` tells where they are.

pub mod aws;
mod fleet;
mod http;
mod own;
mod stage;

pub use fleet::Fleet;
pub use own::OwnServers;
pub use stage::Stage;

use aws::Aws;

/// Where the servers are, from the environment.
#[derive(Clone, Debug)]
pub struct Servers {
    /// `postgres://user:password@host:port/database`; the user may create databases
    pub postgres: String,
    /// `cassandra://host:port`
    pub cassandra: String,
    pub cassandra_user: String,
    pub cassandra_password: String,
    pub aws: Aws,
}

impl Servers {
    /// All of them, or `None` (and a message) where the environment does not tell.
    pub fn at_hand() -> Option<Self> {
        let variable = |name: &str| {
            let value = std::env::var(name).ok();
            if value.is_none() {
                eprintln!("skipped: {name} is not set (eval \"$(infra/dev/services env)\")");
            }
            value
        };
        Some(Self {
            postgres: variable("NEARTIME_TEST_POSTGRES")?,
            cassandra: variable("NEARTIME_TEST_CASSANDRA")?,
            cassandra_user: variable("NEARTIME_TEST_CASSANDRA_USER")?,
            cassandra_password: variable("NEARTIME_TEST_CASSANDRA_PASSWORD")?,
            aws: Aws::new(&variable("NEARTIME_TEST_AWS")?),
        })
    }

    /// Whether the long forms were asked for (`make test-faults`).
    pub fn long_forms() -> bool {
        std::env::var_os("NEARTIME_TEST_LONG").is_some()
    }
}
