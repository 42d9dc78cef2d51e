//! Sources in buckets: the configuration describes them, here they get the bucket's client.

use std::sync::Arc;

use neartime_ingest::{Location, Source, SourceSpec};

use crate::clients::Cloud;
use crate::config::{Place, SourceConfig};

/// The source with its location behind a client that reads it.
pub(crate) fn with_buckets(source: &SourceConfig, cloud: &Cloud) -> anyhow::Result<Arc<Source>> {
    let Place::Bucket { bucket, .. } = &source.location else { return Ok(Arc::clone(&source.source)) };
    let location = Location::bucket(source.location.to_string(), cloud.bucket(bucket))?;
    let spec = SourceSpec { location, ..(**source.source).clone() };
    Ok(Arc::new(Source::new(spec)?))
}
