//! The clients of databases, stores and services: a file for each thing that the configuration names, and the only
//! place that knows what this build has.

#[cfg(feature = "aws")]
mod aws;
#[cfg(not(feature = "aws"))]
#[path = "clients/without_aws.rs"]
mod aws;
mod channels;
mod features_store;
mod lacks;
mod online;
mod report;
mod sources;
mod tasks;

pub(crate) use aws::Cloud;
#[cfg(feature = "aws")]
pub use aws::bucket_puts;
pub(crate) use channels::{queues, streams};
pub(crate) use features_store::FeaturesHome;
pub(crate) use lacks::lacks;
pub(crate) use online::online;
pub(crate) use report::{patient_publisher, publisher};
pub(crate) use sources::with_buckets;
pub(crate) use tasks::tasks;

/// What a source's bucket is to be set up for.
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "read by the client that this build lacks"))]
pub(crate) struct SetUp {
    pub(crate) source: neartime_model::SourceName,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// The address of the queue that is told of new objects.
    pub(crate) queue: Option<String>,
    /// ARNs of those who may read.
    pub(crate) readers: Vec<String>,
}

/// Chooses the one provider of cryptography for all TLS of this process: some clients ask for the process's own, and
/// refuse to choose where a build has several.
pub(crate) fn prepare() {
    #[cfg(any(feature = "aws", feature = "cassandra", feature = "postgres"))]
    // Only a second start in one process fails (tests), and then the first one's choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
