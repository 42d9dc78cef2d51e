//! Listing a bucket, page by page.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use neartime_ingest::channel::form_decoded;
use neartime_ingest::key_path::{key_of_path, path_of_key};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};

use super::S3Store;
use super::error::Asked;
use super::get::utc;
use crate::said::Said;

/// What the names of buckets end with that list in no order and know no start.
const UNORDERED_BUCKET: &str = "--x-s3";

/// Which page comes next.
enum Next {
    First,
    After(String),
    None,
}

impl S3Store {
    /// The objects below a prefix, those alone whose key comes after `offset` in the order of bytes.
    ///
    /// The offset is compared here too: a server that knows no start, or has no order, gives the same answer, only at
    /// a higher price.
    pub(super) fn list_objects(
        &self,
        prefix: Option<&Path>,
        offset: Option<String>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let start = offset.clone().filter(|_| !self.bucket.ends_with(UNORDERED_BUCKET));
        let objects = self.pages(prefix, None, start).map_ok(|page| stream::iter(page.objects.into_iter().map(Ok)));
        let wanted = move |object: &ObjectMeta| {
            let after = offset.as_deref().is_none_or(|offset| offset < key_of_path(&object.location).as_ref());
            futures::future::ready(after)
        };
        objects.try_flatten().try_filter(wanted).boxed()
    }

    pub(super) fn pages(
        &self,
        prefix: Option<&Path>,
        delimiter: Option<&'static str>,
        start: Option<String>,
    ) -> BoxStream<'static, Result<ListResult>> {
        let store = self.clone();
        let prefix = match prefix.map(key_of_path) {
            Some(prefix) if !prefix.is_empty() => format!("{prefix}/"),
            _ => String::new(),
        };
        stream::try_unfold(Next::First, move |next| {
            let (store, prefix, start) = (store.clone(), prefix.clone(), start.clone());
            async move {
                let (token, start) = match next {
                    Next::None => return Ok(None),
                    Next::First => (None, start),
                    Next::After(token) => (Some(token), None),
                };
                let page = store.page(prefix, delimiter, start, token).await?;
                Ok(Some(page))
            }
        })
        .fuse()
        .boxed()
    }

    async fn page(
        &self,
        prefix: String,
        delimiter: Option<&str>,
        start: Option<String>,
        token: Option<String>,
    ) -> Result<(ListResult, Next)> {
        let asked = self.asked("s3:ListBucket", &prefix);
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .max_keys(self.page_keys)
            .set_delimiter(delimiter.map(str::to_owned))
            .set_start_after(start)
            .set_continuation_token(token)
            // XML cannot hold every character that a key can.
            .encoding_type(EncodingType::Url);
        let listed = request.send().await.map_err(|error| asked.failed(Said::of(error)))?;
        read_page(listed, &asked)
    }
}

fn read_page(listed: ListObjectsV2Output, asked: &Asked) -> Result<(ListResult, Next)> {
    let encoded = listed.encoding_type == Some(EncodingType::Url);
    let key = |text: &str| match encoded.then(|| form_decoded(text)) {
        Some(decoded) => decoded.ok_or_else(|| asked.broken("a key is no UTF-8")),
        None => Ok(text.to_owned()),
    };
    let next = match (listed.is_truncated, listed.next_continuation_token) {
        (Some(true), Some(token)) => Next::After(token),
        (Some(true), None) => return Err(asked.broken("a page says that another one follows, and not which")),
        _ => Next::None,
    };
    let mut page = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
    for folder in listed.common_prefixes.unwrap_or_default() {
        let folder = key(folder.prefix.as_deref().unwrap_or_default())?;
        page.common_prefixes.push(path_of_key(folder.strip_suffix('/').unwrap_or(&folder)));
    }
    for object in listed.contents.unwrap_or_default() {
        let location = path_of_key(&key(object.key.as_deref().unwrap_or_default())?);
        page.objects.push(meta(object, location));
    }
    Ok((page, next))
}

fn meta(object: Object, location: Path) -> ObjectMeta {
    let size = object.size.and_then(|size| size.try_into().ok()).unwrap_or_default();
    ObjectMeta { location, last_modified: utc(object.last_modified), size, e_tag: object.e_tag, version: None }
}
