//! Buckets, queues and streams of Amazon Web Services, or of servers that speak like them.

use std::path::Path as FsPath;
use std::sync::Arc;

use async_trait::async_trait;
use neartime_aws::{Aws, AwsSettings, Condition, FilePut, S3Store, SetupRequest};
use neartime_ingest::channel::{EventStream, Queue};
use neartime_model::Clock;
use neartime_stores::{ConditionalPut, PutCondition, PutOutcome, StoreError};
use object_store::ObjectStore;
use object_store::path::Path;

use super::SetUp;
use crate::config::S3;

/// One chain of settings and credentials.
#[derive(Clone, Debug)]
pub(crate) struct Cloud(Aws);

impl Cloud {
    /// Reads what every AWS tool reads; asks nobody yet.
    pub(crate) async fn connect(s3: &S3, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let settings = AwsSettings {
            region: s3.region.clone(),
            endpoint: s3.endpoint.clone(),
            path_style: s3.path_style,
            // The environment can say it: AWS_ENDPOINT_URL_KINESIS.
            kinesis_endpoint: None,
        };
        Ok(Self(Aws::connect(settings, clock).await?))
    }

    pub(crate) fn bucket(&self, name: &str) -> Arc<dyn ObjectStore> {
        Arc::new(self.0.bucket(name))
    }

    pub(crate) fn puts(&self, name: &str) -> Arc<dyn ConditionalPut> {
        bucket_puts(self.0.bucket(name))
    }

    pub(crate) fn queue(&self, url: &str) -> anyhow::Result<Arc<dyn Queue>> {
        Ok(Arc::new(self.0.queue(url)?))
    }

    /// Plans, and writes if told to, what a source's bucket and queue need.
    pub(crate) async fn set_up(&self, wanted: SetUp, apply: bool) -> anyhow::Result<(serde_json::Value, Vec<String>)> {
        let SetUp { source, bucket, prefix, queue, readers } = wanted;
        let setup = self.0.setup();
        let plan = setup.plan(&SetupRequest { source, bucket, prefix, queue, readers }).await?;
        if apply {
            setup.apply(&plan).await?;
        }
        let warnings = plan.warnings.clone();
        Ok((serde_json::to_value(&plan)?, warnings))
    }

    pub(crate) fn stream(&self, name: &str) -> Arc<dyn EventStream> {
        Arc::new(self.0.stream(name))
    }
}

/// A bucket's whole-file puts, as a features store asks for them.
pub fn bucket_puts(bucket: S3Store) -> Arc<dyn ConditionalPut> {
    Arc::new(Puts(bucket))
}

/// A bucket's whole-file puts, in the words of the features store.
#[derive(Debug)]
struct Puts(S3Store);

#[async_trait]
impl ConditionalPut for Puts {
    async fn put_file(
        &self,
        file: &FsPath,
        key: &Path,
        condition: PutCondition<'_>,
        metadata: &[(&str, String)],
    ) -> Result<PutOutcome, StoreError> {
        let condition = match condition {
            PutCondition::Absent => Condition::Absent,
            PutCondition::Version(etag) => Condition::Matches(etag.to_owned()),
        };
        match self.0.put_file(file, key, condition, metadata).await {
            Ok(FilePut::Done { .. }) => Ok(PutOutcome::Done),
            Ok(FilePut::Changed) => Ok(PutOutcome::Changed),
            Ok(FilePut::Busy) => Ok(PutOutcome::Busy),
            Err(error) => {
                let attempted = format!("putting {key} into {}", self.0.bucket_name());
                Err(StoreError::Unavailable { attempted, cause: Box::new(error) })
            }
        }
    }
}
