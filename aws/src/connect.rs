//! One chain of settings and credentials for all clients.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use neartime_model::{Classify, Clock, ErrorKind};
use tokio::runtime::Handle;

use crate::home::AtHome;
use crate::kinesis::KinesisStream;
use crate::s3::S3Store;
use crate::setup::Setup;
use crate::sqs::SqsQueue;

/// How often a request is sent before it counts as failed; the waits between grow from a fraction of a second.
const ATTEMPTS: u32 = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take to begin; longer than the longest poll of a queue.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a transfer may stand still.
const STALL_GRACE: Duration = Duration::from_secs(30);
/// Where other servers are that know no regions.
const ANY_REGION: &str = "us-east-1";

/// What the configuration says; what it leaves out comes from the environment and the usual files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region.
    pub region: Option<String>,
    /// Where S3 is, if not at Amazon: `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path instead of the host name.
    pub path_style: bool,
    /// Where Kinesis is, if not at Amazon. (A queue says where it is in its URL.)
    pub kinesis_endpoint: Option<String>,
}

/// The clients' common ground. Cheap to clone.
#[derive(Clone)]
pub struct Aws {
    pub(crate) config: SdkConfig,
    settings: AwsSettings,
    s3: aws_sdk_s3::Client,
    clock: Arc<dyn Clock>,
}

/// Settings that do not suffice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No region is known.
    #[error("no AWS region is known: set region in [s3], or AWS_REGION")]
    NoRegion,
    /// A queue's address is none.
    #[error("`{url}` is no address of a queue: write it as https://sqs.<region>.amazonaws.com/<account>/<name>")]
    InvalidQueue {
        /// What was written.
        url: String,
    },
}

impl Classify for ConnectError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Aws {
    /// Reads environment, files and instance metadata as every AWS tool does; credentials are asked for at the first
    /// request. The caller's runtime is the one on which all requests will be made: it must live as long as they do.
    pub async fn connect(settings: AwsSettings, clock: Arc<dyn Clock>) -> Result<Self, ConnectError> {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let http = SharedHttpClient::new(AtHome::new(http, Handle::current()));
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(ANSWER_TIMEOUT).build();
        let stalls = StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            .stalled_stream_protection(stalls);
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let mut config = loader.load().await;
        if config.region().is_none() {
            if settings.endpoint.is_none() && config.endpoint_url().is_none() {
                return Err(ConnectError::NoRegion);
            }
            config = config.into_builder().region(Region::from_static(ANY_REGION)).build();
        }
        Ok(Self::with(config, settings, clock))
    }

    pub(crate) fn with(config: SdkConfig, settings: AwsSettings, clock: Arc<dyn Clock>) -> Self {
        let mut builder = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(settings.path_style)
            // gzip and Parquet have checksums of their own, and those of the transfer are TLS's.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &settings.endpoint {
            // Not every server that speaks S3 knows the checksums in a trailer that Amazon's clients send by default.
            builder =
                builder.endpoint_url(endpoint).request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        }
        let s3 = aws_sdk_s3::Client::from_conf(builder.build());
        Self { config, settings, s3, clock }
    }

    /// The same, waiting hardly at all between the tries of a request.
    #[cfg(test)]
    pub(crate) fn impatient(self) -> Self {
        let retries =
            RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(Duration::from_millis(5));
        Self::with(self.config.into_builder().retry_config(retries).build(), self.settings, self.clock)
    }

    /// A bucket. It need not exist: whatever asks it first says so.
    pub fn bucket(&self, name: &str) -> S3Store {
        S3Store::new(self.s3.clone(), name)
    }

    /// The queue at `url`, which also tells its server and region.
    pub fn queue(&self, url: &str) -> Result<SqsQueue, ConnectError> {
        SqsQueue::new(&self.config, url)
    }

    /// A stream, by its name or ARN.
    pub fn stream(&self, name: &str) -> KinesisStream {
        let mut builder = aws_sdk_kinesis::config::Builder::from(&self.config);
        if let Some(endpoint) = &self.settings.kinesis_endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        KinesisStream::new(aws_sdk_kinesis::Client::from_conf(builder.build()), name, Arc::clone(&self.clock))
    }

    /// Sets up the bucket of a source.
    pub fn setup(&self) -> Setup {
        Setup::new(self.s3.clone(), self.config.clone())
    }
}

/// Shows the settings, never the credentials.
impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("settings", &self.settings).finish_non_exhaustive()
    }
}
