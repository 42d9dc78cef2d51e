//! A bucket as an [`ObjectStore`], and conditional puts of whole files.
//!
//! Written on Amazon's own client, so that buckets, queues and streams share one chain of credentials, and because a
//! multipart upload that is completed on a condition, and keys that no path can hold, are not in `object_store`'s
//! client. Keys travel as [`key_path`](neartime_ingest::key_path) carries them.

mod error;
mod get;
mod list;
mod multipart;
mod put;
mod put_file;
#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use neartime_ingest::key_path::key_of_path;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::said::Said;
use error::Asked;
pub use put::Condition;
pub use put_file::FilePut;

/// Keys that one request lists: the most that there are.
const PAGE_KEYS: i32 = 1_000;
/// Deletes that are under way at once.
const DELETES_AT_ONCE: usize = 10;
/// The name of an object to copy stands in a header.
const IN_HEADER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// One bucket. Cheap to clone.
///
/// Errors: a bucket that is away, throttles or does not exist is [`Generic`](object_store::Error::Generic), so that
/// [`NotFound`](object_store::Error::NotFound) always means one object; what is not allowed is
/// [`PermissionDenied`](object_store::Error::PermissionDenied) and names the action; a `HEAD` alone, whose answer has no
/// text, cannot tell a missing bucket from a missing object.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    page_keys: i32,
}

impl S3Store {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned(), page_keys: PAGE_KEYS }
    }

    /// The bucket's name.
    pub fn bucket_name(&self) -> &str {
        &self.bucket
    }

    #[cfg(test)]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What an error says was asked of this bucket.
    fn asked(&self, action: &'static str, key: &str) -> Asked {
        Asked { action, bucket: self.bucket.clone(), key: key.to_owned() }
    }

    async fn delete_object(&self, path: Path) -> Result<Path> {
        let key = key_of_path(&path);
        let sent = self.client.delete_object().bucket(&self.bucket).key(key.as_ref()).send().await;
        match sent {
            Ok(_) => Ok(path),
            Err(error) => Err(self.asked("s3:DeleteObject", &key).failed(Said::of(error))),
        }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    /// A create or update whose answer was lost is looked for in the bucket before it counts as failed, and one that
    /// finds its own bytes in place has succeeded. Tags are not supported.
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.put_payload(&key_of_path(location), payload.into(), options).await
    }

    /// A [`PutMode::Create`](object_store::PutMode) among the extensions makes the completion fail with
    /// [`AlreadyExists`](object_store::Error::AlreadyExists) where an object has come meanwhile.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(multipart::Upload::begin(self.clone(), key_of_path(location).into_owned(), options).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.get_object(location, options).await
    }

    /// One request for each object: the request for many carries keys in XML, which cannot hold every character.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = locations.map(move |path| {
            let store = store.clone();
            async move { store.delete_object(path?).await }
        });
        deleted.buffered(DELETES_AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_objects(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_objects(prefix, Some(key_of_path(offset).into_owned()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut all = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        let mut pages = self.pages(prefix, Some("/"), None);
        while let Some(page) = pages.try_next().await? {
            all.common_prefixes.extend(page.common_prefixes);
            all.objects.extend(page.objects);
        }
        Ok(all)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (from, to) = (key_of_path(from), key_of_path(to));
        let source = format!("{}/{}", self.bucket, utf8_percent_encode(&from, IN_HEADER));
        let mut request = self.client.copy_object().bucket(&self.bucket).key(to.as_ref()).copy_source(source);
        if options.mode == CopyMode::Create {
            request = request.if_none_match("*");
        }
        let copied = request.send().await;
        copied.map(drop).map_err(|error| match Said::of(error) {
            said if said.status == Some(412) => self.asked("s3:PutObject", &to).already_exists(said),
            said => self.asked("s3:GetObject", &from).failed(said),
        })
    }
}

impl fmt::Display for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3Store").field(&self.bucket).finish()
    }
}
