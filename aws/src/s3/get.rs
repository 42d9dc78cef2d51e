//! Reading objects, whole or in part, of a certain version or any.

use std::collections::HashMap;
use std::ops::Range;

use aws_sdk_s3::primitives::{ByteStream, DateTime as SdkTime};
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use neartime_ingest::key_path::key_of_path;
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, Result};

use super::S3Store;
use super::error::Asked;
use crate::said::Said;

impl S3Store {
    pub(super) async fn get_object(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let key = key_of_path(path);
        let asked = self.asked("s3:GetObject", &key);
        if options.head {
            return self.head_object(path, options, &asked).await;
        }
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_ref())
            .set_range(options.range.as_ref().map(header_of))
            .set_if_match(options.if_match)
            .set_if_none_match(options.if_none_match)
            .set_if_modified_since(options.if_modified_since.map(sdk_time))
            .set_if_unmodified_since(options.if_unmodified_since.map(sdk_time))
            .set_version_id(options.version);
        let got = request.send().await.map_err(|error| asked.failed(Said::of(error)))?;
        let length = length_of(got.content_length, &asked)?;
        let (range, size) = match (&options.range, got.content_range.as_deref().and_then(content_range)) {
            (None, _) => (0..length, length),
            (Some(_), Some(told)) => told,
            (Some(_), None) => return Err(asked.broken("a part was asked for and the whole was given")),
        };
        let meta = ObjectMeta {
            location: path.clone(),
            last_modified: utc(got.last_modified),
            size,
            e_tag: got.e_tag,
            version: got.version_id,
        };
        let attributes = attributes(got.content_type, got.content_encoding, got.cache_control, got.metadata);
        let payload = GetResultPayload::Stream(pieces(got.body, asked, range.end - range.start));
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn head_object(&self, path: &Path, options: GetOptions, asked: &Asked) -> Result<GetResult> {
        let request = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(&asked.key)
            .set_if_match(options.if_match)
            .set_if_none_match(options.if_none_match)
            .set_if_modified_since(options.if_modified_since.map(sdk_time))
            .set_if_unmodified_since(options.if_unmodified_since.map(sdk_time))
            .set_version_id(options.version);
        let got = request.send().await.map_err(|error| asked.failed(Said::of(error)))?;
        let size = length_of(got.content_length, asked)?;
        let meta = ObjectMeta {
            location: path.clone(),
            last_modified: utc(got.last_modified),
            size,
            e_tag: got.e_tag,
            version: got.version_id,
        };
        let attributes = attributes(got.content_type, got.content_encoding, got.cache_control, got.metadata);
        Ok(GetResult { payload: GetResultPayload::Stream(stream::empty().boxed()), meta, range: 0..size, attributes })
    }
}

/// The body, which is an error if it ends early: half a file must not pass for a whole one.
fn pieces(body: ByteStream, asked: Asked, expected: u64) -> BoxStream<'static, Result<bytes::Bytes>> {
    stream::unfold(Some((body, asked, expected)), |state| async move {
        let (mut body, asked, missing) = state?;
        match body.next().await {
            Some(Ok(piece)) => {
                let missing = missing.saturating_sub(piece.len() as u64);
                Some((Ok(piece), Some((body, asked, missing))))
            }
            Some(Err(error)) => Some((Err(asked.broken_by(error)), None)),
            None if missing > 0 => Some((Err(asked.broken("the transfer ended early")), None)),
            None => None,
        }
    })
    .fuse()
    .boxed()
}

fn header_of(range: &GetRange) -> String {
    match range {
        GetRange::Bounded(range) => format!("bytes={}-{}", range.start, range.end.saturating_sub(1)),
        GetRange::Offset(from) => format!("bytes={from}-"),
        GetRange::Suffix(last) => format!("bytes=-{last}"),
    }
}

/// Range and size out of `bytes 0-9/100`.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
    Some((range, size.parse().ok()?))
}

fn length_of(length: Option<i64>, asked: &Asked) -> Result<u64> {
    length.and_then(|length| length.try_into().ok()).ok_or_else(|| asked.broken("the answer tells no length"))
}

fn sdk_time(at: DateTime<Utc>) -> SdkTime {
    SdkTime::from_millis(at.timestamp_millis())
}

pub(super) fn utc(at: Option<SdkTime>) -> DateTime<Utc> {
    let at = at.unwrap_or(SdkTime::from_secs(0));
    DateTime::from_timestamp(at.secs(), at.subsec_nanos()).unwrap_or_default()
}

fn attributes(
    content_type: Option<String>,
    content_encoding: Option<String>,
    cache_control: Option<String>,
    metadata: Option<HashMap<String, String>>,
) -> Attributes {
    let fixed = [
        (Attribute::ContentType, content_type),
        (Attribute::ContentEncoding, content_encoding),
        (Attribute::CacheControl, cache_control),
    ];
    let fixed = fixed.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    let own = metadata.unwrap_or_default().into_iter().map(|(name, value)| (Attribute::Metadata(name.into()), value));
    fixed.chain(own).collect()
}
