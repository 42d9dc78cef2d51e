//! Putting objects whole, on a condition, and finding out what became of a put whose answer was lost.
//!
//! A put on a condition carries a mark among the object's metadata: a hash of its content, or where that comes piece by
//! piece, a random number. Wherever it is not plain that the put was made (the answer was lost, and the client's own
//! second try found what the first had written; or two writers met), the bucket is asked what is there now: the same
//! mark is success.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::StorageClass;
use bytes::Bytes;
use md5::{Digest, Md5};
use object_store::{Attribute, Attributes, Error, PutMode, PutOptions, PutResult, Result};

use super::S3Store;
use super::error::Asked;
use crate::said::{Said, What};

/// The object's own metadata that tells whose put made it.
pub(super) const MARK: &str = "neartime-mark";
/// How often a put is made that meets other writers.
const BUSY_ATTEMPTS: u32 = 6;
/// How long the first of them waits; each next twice as long.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// What must be true in the moment in which a put becomes visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// No object is there.
    Absent,
    /// The object with this ETag is there, written as listings write it.
    Matches(String),
}

impl Condition {
    /// For `If-Match` and `If-None-Match`.
    pub(super) fn headers(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Always => (None, None),
            Self::Absent => (None, Some("*".to_owned())),
            Self::Matches(etag) => (Some(etag.clone()), None),
        }
    }
}

/// What became of one put.
pub(super) enum Outcome {
    Done(PutResult),
    /// The condition does not hold.
    Changed(Said),
    /// Another write was under way: try again.
    Busy(Said),
}

/// What is there after a put that may have been made.
enum There {
    Mine(PutResult),
    Another,
    Nothing,
}

/// What an object says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) metadata: HashMap<String, String>,
}

/// A request with [`Labels`]. A macro, as the requests that make an object share the setters but no trait.
macro_rules! labelled {
    ($request:expr, $labels:expr) => {{
        let Labels {
            content_type,
            content_encoding,
            content_language,
            content_disposition,
            cache_control,
            storage_class,
            metadata,
        } = $labels.clone();
        $request
            .set_content_type(content_type)
            .set_content_encoding(content_encoding)
            .set_content_language(content_language)
            .set_content_disposition(content_disposition)
            .set_cache_control(cache_control)
            .set_storage_class(storage_class)
            .set_metadata((!metadata.is_empty()).then_some(metadata))
    }};
}
pub(super) use labelled;

impl Labels {
    pub(super) fn of(attributes: &Attributes) -> Result<Self> {
        let mut labels = Self::default();
        for (name, value) in attributes {
            let value = value.to_string();
            match name {
                Attribute::ContentType => labels.content_type = Some(value),
                Attribute::ContentEncoding => labels.content_encoding = Some(value),
                Attribute::ContentLanguage => labels.content_language = Some(value),
                Attribute::ContentDisposition => labels.content_disposition = Some(value),
                Attribute::CacheControl => labels.cache_control = Some(value),
                Attribute::StorageClass => labels.storage_class = Some(StorageClass::from(value.as_str())),
                Attribute::Metadata(own) => drop(labels.metadata.insert(own.to_string(), value)),
                other => {
                    let source = format!("an object of S3 has no attribute {other:?}").into();
                    return Err(Error::NotSupported { source });
                }
            }
        }
        Ok(labels)
    }

    pub(super) fn mark(&self) -> Option<&str> {
        self.metadata.get(MARK).map(String::as_str)
    }
}

impl S3Store {
    pub(super) async fn put_payload(&self, key: &str, body: Bytes, options: PutOptions) -> Result<PutResult> {
        let asked = self.asked("s3:PutObject", key);
        let condition = match options.mode {
            PutMode::Overwrite => Condition::Always,
            PutMode::Create => Condition::Absent,
            PutMode::Update(version) => {
                let etag = version.e_tag.ok_or_else(|| asked.broken("an update needs the ETag to replace"))?;
                Condition::Matches(etag)
            }
        };
        let mut labels = Labels::of(&options.attributes)?;
        if condition != Condition::Always {
            labels.metadata.insert(MARK.to_owned(), hexadecimal(&Md5::digest(&body)));
        }
        let mut wait = BUSY_WAIT;
        for _ in 0..BUSY_ATTEMPTS {
            match self.put_once(key, ByteStream::from(body.clone()), &condition, &labels).await? {
                Outcome::Done(result) => return Ok(result),
                Outcome::Changed(said) if condition == Condition::Absent => return Err(asked.already_exists(said)),
                Outcome::Changed(said) => return Err(asked.precondition(said)),
                Outcome::Busy(said) => tracing::debug!(key, %said, "another writer was there first"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(asked.broken("other writers of the same object keep coming first"))
    }

    /// One request.
    pub(super) async fn put_once(
        &self,
        key: &str,
        body: ByteStream,
        condition: &Condition,
        labels: &Labels,
    ) -> Result<Outcome> {
        let (if_match, if_none_match) = condition.headers();
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(body)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match);
        match labelled!(request, labels).send().await {
            Ok(put) => Ok(Outcome::Done(PutResult { e_tag: put.e_tag, version: put.version_id })),
            Err(error) => self.after_failure(key, condition, labels.mark(), Said::of(error)).await,
        }
    }

    /// What became of a put that was answered with an error, or not at all.
    pub(super) async fn after_failure(
        &self,
        key: &str,
        condition: &Condition,
        mark: Option<&str>,
        said: Said,
    ) -> Result<Outcome> {
        let asked = self.asked("s3:PutObject", key);
        let conflict = said.status == Some(409);
        let refused = said.status == Some(412) || (said.code == "NoSuchKey" && *condition != Condition::Always);
        // A second try of the client's own may have found that the first one was made after all.
        let unknown = matches!(said.what, What::Unknown | What::Throttled) || said.code == "NoSuchUpload";
        if !(conflict || refused || unknown) {
            return Err(asked.failed(said));
        }
        let there = match mark {
            Some(mark) => self.what_is_there(key, mark).await,
            None => return Err(asked.failed(said)),
        };
        match there {
            Ok(There::Mine(result)) => Ok(Outcome::Done(result)),
            Ok(There::Nothing) if refused && *condition == Condition::Absent => Ok(Outcome::Busy(said)),
            Ok(_) if conflict => Ok(Outcome::Busy(said)),
            Ok(_) if refused => Ok(Outcome::Changed(said)),
            Ok(_) => Err(asked.failed(said)),
            Err(error) => {
                tracing::debug!(key, %error, "could not look for what a failed put may have written");
                Err(asked.failed(said))
            }
        }
    }

    async fn what_is_there(&self, key: &str, mark: &str) -> Result<There> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(head) => {
                let same = head.metadata.and_then(|own| own.get(MARK).map(|there| there == mark)).unwrap_or(false);
                let result = PutResult { e_tag: head.e_tag, version: head.version_id };
                Ok(if same { There::Mine(result) } else { There::Another })
            }
            Err(error) => match Said::of(error) {
                said if said.status == Some(404) => Ok(There::Nothing),
                said => Err(Asked { action: "s3:GetObject", ..self.asked("", key) }.failed(said)),
            },
        }
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
