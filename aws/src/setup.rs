//! What `neartime source setup` prints or applies: the notifications of a source's bucket, and who else may read it.
//!
//! Nothing of others is taken away: statements and notifications that are not of this source are kept as they are, and
//! those of this source, known by their names, are replaced. So it can be run again.

mod notification;
mod policy;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput;
use aws_sdk_s3::types::{NotificationConfiguration, Payer};
use aws_sdk_sqs::types::QueueAttributeName;
use neartime_model::{Classify, ErrorKind, SourceName};
use serde::Serialize;
use serde_json::Value;

use crate::connect::ConnectError;
use crate::said::Said;
use crate::sqs::client_of;
use policy::Policy;

/// The name of the AWS key with which a queue can be encrypted that S3 may not use.
const MANAGED_KEY: &str = "alias/aws/sqs";

/// What a source's bucket is to be set up for.
#[derive(Clone, Debug)]
pub struct SetupRequest {
    /// The source.
    pub source: SourceName,
    /// Its bucket.
    pub bucket: String,
    /// Its prefix in the bucket; may be empty.
    pub prefix: String,
    /// The URL of the queue that is told of new objects.
    pub queue: Option<String>,
    /// ARNs of the users, roles and accounts that may read; none leaves the bucket's policy alone.
    pub readers: Vec<String>,
}

/// What would be written, and what is there to know. As JSON each part is what the AWS command line takes.
#[derive(Clone, Debug, Serialize)]
pub struct SetupPlan {
    /// The bucket.
    pub bucket: String,
    /// The queue's URL.
    pub queue: Option<String>,
    /// The queue's whole policy, with leave for this bucket to send to it.
    pub queue_policy: Option<Value>,
    /// All notifications of the bucket.
    pub bucket_notification: Option<Value>,
    /// The bucket's whole policy, with leave for the readers.
    pub bucket_policy: Option<Value>,
    /// What works as it is but will surprise.
    pub warnings: Vec<String>,
    #[serde(skip)]
    notification: Option<NotificationConfiguration>,
}

/// A request that cannot be fulfilled, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSetup(pub(crate) String);

/// Why a set-up failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A person must ask for something else.
    #[error(transparent)]
    Invalid(#[from] InvalidSetup),
    /// A service cannot be reached or refuses us.
    #[error("could not {doing}: {reason}")]
    Unavailable {
        /// What was attempted.
        doing: String,
        /// What is missing or refused.
        reason: String,
        /// What the service said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Classify for SetupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }
}

impl From<ConnectError> for SetupError {
    fn from(error: ConnectError) -> Self {
        Self::Invalid(InvalidSetup(error.to_string()))
    }
}

/// Plans and applies set-ups.
pub struct Setup {
    s3: Client,
    config: SdkConfig,
}

impl Setup {
    pub(crate) fn new(s3: Client, config: SdkConfig) -> Self {
        Self { s3, config }
    }

    /// Looks at what is there and works out what it should be; changes nothing.
    pub async fn plan(&self, request: &SetupRequest) -> Result<SetupPlan, SetupError> {
        check_bucket_name(&request.bucket)?;
        let readers = reader::checked(&request.readers)?;
        if request.queue.is_none() && readers.is_empty() {
            return Err(InvalidSetup(format!(
                "there is nothing to set up for source `{}`: give it a queue in [source.sqs], or name --reader",
                request.source
            ))
            .into());
        }
        self.check_payer(&request.bucket).await?;
        let mut plan = SetupPlan {
            bucket: request.bucket.clone(),
            queue: request.queue.clone(),
            queue_policy: None,
            bucket_notification: None,
            bucket_policy: None,
            warnings: Vec::new(),
            notification: None,
        };
        if let Some(url) = &request.queue {
            self.plan_queue(request, url, &mut plan).await?;
        }
        if !readers.is_empty() {
            let there = self.bucket_policy(&request.bucket).await?;
            let policy = policy::with_readers(there, request, &readers);
            plan.warnings.extend(policy.others_note());
            plan.bucket_policy = Some(policy.into_json());
        }
        Ok(plan)
    }

    /// Writes what was planned: the queue's policy first, as S3 tries the queue when it is told of it.
    pub async fn apply(&self, plan: &SetupPlan) -> Result<(), SetupError> {
        if let (Some(url), Some(policy)) = (&plan.queue, &plan.queue_policy) {
            let request = client_of(&self.config, url)?
                .set_queue_attributes()
                .queue_url(url)
                .attributes(QueueAttributeName::Policy, policy.to_string());
            let doing = || format!("write the policy of the queue `{url}`");
            request.send().await.map_err(|error| failed(doing(), "sqs:SetQueueAttributes", url, Said::of(error)))?;
        }
        let bucket = &plan.bucket;
        if let Some(notification) = &plan.notification {
            let request = self
                .s3
                .put_bucket_notification_configuration()
                .bucket(bucket)
                .notification_configuration(notification.clone());
            let doing = || format!("write the notifications of the bucket `{bucket}`");
            request
                .send()
                .await
                .map_err(|error| failed(doing(), "s3:PutBucketNotification", bucket, Said::of(error)))?;
        }
        if let Some(policy) = &plan.bucket_policy {
            let request = self.s3.put_bucket_policy().bucket(bucket).policy(policy.to_string());
            let doing = || format!("write the policy of the bucket `{bucket}`");
            request.send().await.map_err(|error| failed(doing(), "s3:PutBucketPolicy", bucket, Said::of(error)))?;
        }
        Ok(())
    }

    async fn plan_queue(&self, request: &SetupRequest, url: &str, plan: &mut SetupPlan) -> Result<(), SetupError> {
        let queue = self.queue(url).await?;
        plan.warnings.extend(queue.note(url));
        let there = Policy::parse(queue.policy.as_deref(), &format!("the queue `{url}`"))?;
        plan.queue_policy = Some(policy::with_sender(there, &request.bucket, &queue.arn).into_json());
        let there = self.notifications(&request.bucket).await?;
        let notification = notification::merged(there, request, &queue.arn);
        plan.bucket_notification = Some(notification::to_json(&notification));
        plan.notification = Some(notification);
        Ok(())
    }

    async fn notifications(&self, bucket: &str) -> Result<GetBucketNotificationConfigurationOutput, SetupError> {
        match self.s3.get_bucket_notification_configuration().bucket(bucket).send().await {
            Ok(there) => Ok(there),
            Err(error) if notification::is_none(&error) => {
                Ok(GetBucketNotificationConfigurationOutput::builder().build())
            }
            Err(error) => {
                let doing = format!("read the notifications of the bucket `{bucket}`");
                Err(failed(doing, "s3:GetBucketNotification", bucket, Said::of(error)))
            }
        }
    }

    async fn queue(&self, url: &str) -> Result<QueueFacts, SetupError> {
        let asked = [
            QueueAttributeName::QueueArn,
            QueueAttributeName::Policy,
            QueueAttributeName::RedrivePolicy,
            QueueAttributeName::KmsMasterKeyId,
        ];
        let request =
            client_of(&self.config, url)?.get_queue_attributes().queue_url(url).set_attribute_names(Some(asked.into()));
        let doing = || format!("ask for the queue `{url}`");
        let answer =
            request.send().await.map_err(|error| failed(doing(), "sqs:GetQueueAttributes", url, Said::of(error)))?;
        let mut facts = answer.attributes.unwrap_or_default();
        if facts.get(&QueueAttributeName::KmsMasterKeyId).is_some_and(|key| key == MANAGED_KEY) {
            return Err(InvalidSetup(format!(
                "the queue `{url}` is encrypted with AWS's own key {MANAGED_KEY}, which S3 may not use: take a key of \
                 your own, or SQS's"
            ))
            .into());
        }
        let Some(arn) = facts.remove(&QueueAttributeName::QueueArn) else {
            return Err(InvalidSetup(format!("the queue `{url}` tells no ARN")).into());
        };
        if arn.ends_with(".fifo") {
            return Err(
                InvalidSetup(format!("`{arn}` is a FIFO queue, to which S3 sends nothing: take another")).into()
            );
        }
        let dead_letters = facts.contains_key(&QueueAttributeName::RedrivePolicy);
        Ok(QueueFacts { arn, policy: facts.remove(&QueueAttributeName::Policy), dead_letters })
    }

    async fn bucket_policy(&self, bucket: &str) -> Result<Policy, SetupError> {
        let doing = || format!("read the policy of the bucket `{bucket}`");
        match self.s3.get_bucket_policy().bucket(bucket).send().await.map_err(Said::of) {
            Ok(answer) => Ok(Policy::parse(answer.policy.as_deref(), &format!("the bucket `{bucket}`"))?),
            Err(said) if said.code == "NoSuchBucketPolicy" => Ok(Policy::default()),
            Err(said) => Err(failed(doing(), "s3:GetBucketPolicy", bucket, said)),
        }
    }

    /// Refuses a bucket whose readers pay. Servers other than Amazon's may not know who pays: then the owner does.
    async fn check_payer(&self, bucket: &str) -> Result<(), SetupError> {
        let doing = || format!("ask who pays for requests to the bucket `{bucket}`");
        match self.s3.get_bucket_request_payment().bucket(bucket).send().await.map_err(Said::of) {
            Ok(answer) if answer.payer == Some(Payer::Requester) => Err(InvalidSetup(format!(
                "in the bucket `{bucket}` the requester pays: each reader would have to agree to that in every \
                 request, which most tools do not; let the owner pay"
            ))
            .into()),
            Ok(_) => Ok(()),
            Err(said) if matches!(said.status, Some(200 | 405 | 501)) => Ok(()),
            Err(said) => Err(failed(doing(), "s3:GetBucketRequestPayment", bucket, said)),
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").finish_non_exhaustive()
    }
}

/// What is to know of a queue.
struct QueueFacts {
    arn: String,
    policy: Option<String>,
    dead_letters: bool,
}

impl QueueFacts {
    fn note(&self, url: &str) -> Option<String> {
        let note = || {
            format!(
                "the queue `{url}` has no dead-letter queue: a message that cannot be understood comes again and again \
                 until it is too old"
            )
        };
        (!self.dead_letters).then(note)
    }
}

/// What S3 and all who read it take for a bucket's name.
fn check_bucket_name(bucket: &str) -> Result<(), InvalidSetup> {
    if bucket.contains('_') {
        return Err(InvalidSetup(format!(
            "the bucket's name `{bucket}` has an underscore, which no host name may have: AWS takes no new ones, and \
             many readers (Spark among them) cannot open the old ones; move to another bucket"
        )));
    }
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let bytes = bucket.as_bytes();
    let good =
        (3..=63).contains(&bytes.len()) && bucket.bytes().all(inner) && edge(bytes.first()) && edge(bytes.last());
    if good && !bucket.contains("..") {
        return Ok(());
    }
    Err(InvalidSetup(format!(
        "`{bucket}` is no bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens, a letter or digit at \
         both ends"
    )))
}

fn failed(doing: String, action: &str, on: &str, said: Said) -> SetupError {
    let reason = match said.code.as_str() {
        "NoSuchBucket" => "the bucket does not exist".to_owned(),
        "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist" => "the queue does not exist".to_owned(),
        _ => said.reason(action, on),
    };
    SetupError::Unavailable { doing, reason, source: Box::new(said) }
}
