//! Connecting to a cluster, and saying clearly why that cannot be done.

use std::fmt;
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, MetadataError, NewSessionError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::statement::{Consistency, Statement};

use super::failure::database_error;
use super::tls;
use crate::StoreError;

/// How long one request may take before it is sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one attempt to reach a node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the cluster is, and how to log in.
#[derive(Clone)]
pub struct CassandraOptions {
    /// Nodes to ask first, as `host` or `host:port` (9042 by default). The others are learnt from them.
    pub contact_points: Vec<String>,
    /// The keyspace, which must exist: how often it is replicated is for the operator to say.
    pub keyspace: String,
    /// The login, if the cluster asks for one.
    pub username: Option<String>,
    /// Its password; never shown.
    pub password: Option<String>,
    /// The data centre that is asked; without it, all of them are.
    pub datacenter: Option<String>,
    /// Whether to encrypt. Nodes must then show a certificate that the machine trusts (`SSL_CERT_FILE` names other
    /// authorities than the system's), for their IP address or for the host name of a contact point.
    pub tls: bool,
}

impl fmt::Debug for CassandraOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassandraOptions")
            .field("contact_points", &self.contact_points)
            .field("keyspace", &self.keyspace)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("datacenter", &self.datacenter)
            .field("tls", &self.tls)
            .finish()
    }
}

/// Opens a session and checks that keyspace and data centre are there.
pub(super) async fn connect(options: &CassandraOptions) -> Result<Session, StoreError> {
    let nodes = options.contact_points.join(", ");
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.contact_points)
        .connection_timeout(CONNECT_TIMEOUT)
        .keyspaces_to_fetch([&options.keyspace])
        .fetch_full_schema_metadata(false)
        .default_execution_profile_handle(profile(options).into_handle());
    if let Some(username) = &options.username {
        builder = builder.user(username, options.password.as_deref().unwrap_or_default());
    }
    if options.tls {
        builder = builder.tls_context(Some(tls::config(&options.contact_points)?));
    }
    let session = builder.build().await.map_err(|error| connect_error(options, &nodes, &error))?;
    check_datacenter(&session, options)?;
    check_keyspace(&session, options, &nodes).await?;
    Ok(session)
}

fn profile(options: &CassandraOptions) -> ExecutionProfile {
    let mut policy = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &options.datacenter {
        policy = policy.prefer_datacenter(datacenter.clone());
    }
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .load_balancing_policy(policy.build())
        .build()
}

/// A data centre that is not there would leave no node to ask, and each statement would fail for itself.
fn check_datacenter(session: &Session, options: &CassandraOptions) -> Result<(), StoreError> {
    let Some(wanted) = &options.datacenter else { return Ok(()) };
    let state = session.get_cluster_state();
    let mut known: Vec<&str> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&wanted.as_str()) {
        return Ok(());
    }
    Err(StoreError::invalid(format!("cassandra has no data centre `{wanted}`: it has {}", known.join(", "))))
}

async fn check_keyspace(session: &Session, options: &CassandraOptions, nodes: &str) -> Result<(), StoreError> {
    let attempted = format!("looking for the keyspace `{}` at {nodes}", options.keyspace);
    let mut statement = Statement::new("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?");
    statement.set_consistency(Consistency::One);
    let found = session.query_unpaged(statement, (&options.keyspace,)).await;
    let found = found.map_err(|error| database_error(attempted.clone(), &error))?;
    let found = found.into_rows_result().map_err(|error| StoreError::failed(attempted.clone(), error))?;
    if found.rows_num() > 0 {
        return Ok(());
    }
    Err(StoreError::unavailable(attempted, "there is none: create it, with the replication that you want"))
}

/// What stood in the way of a session, without a word of the login but its name.
fn connect_error(options: &CassandraOptions, nodes: &str, error: &NewSessionError) -> StoreError {
    let attempted = match (setup_error(error), &options.username) {
        (Some(ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, _)), Some(username)) => {
            format!("logging in to cassandra at {nodes} as `{username}`")
        }
        (Some(ConnectionSetupRequestErrorKind::MissingAuthentication), _) => {
            let attempted = format!("connecting to cassandra at {nodes}");
            return StoreError::unavailable(attempted, "it asks for a login: set username and password");
        }
        _ => format!("connecting to cassandra at {nodes}"),
    };
    StoreError::unavailable(attempted, error.to_string())
}

/// The step of setting up a connection that failed, if one was.
fn setup_error(error: &NewSessionError) -> Option<&ConnectionSetupRequestErrorKind> {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error: ConnectionError::ConnectionSetupRequestError(error),
    })) = error
    else {
        return None;
    };
    Some(error.get_error())
}
