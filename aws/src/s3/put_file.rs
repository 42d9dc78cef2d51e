//! Putting a local file whole, on a condition, whatever its size.

use std::fs::File;
use std::io::Read;
use std::path::{Path as FsPath, PathBuf};

use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures::stream::{self, StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use neartime_ingest::key_path::key_of_path;
use object_store::path::Path;
use object_store::{Error, PutResult, Result};

use super::S3Store;
use super::error::Asked;
use super::multipart::MIN_PART_BYTES;
use super::put::{Condition, Labels, MARK, Outcome, hexadecimal, labelled};
use crate::said::Said;

/// Files up to this size go in one request.
const ONE_REQUEST_BYTES: u64 = 16 << 20;
const PART_BYTES: u64 = 16 << 20;
const MAX_PARTS: u64 = 10_000;
/// Parts of one file that are sent at once.
const PARTS_AT_ONCE: usize = 4;

/// What became of a file that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilePut {
    /// It is there, under this ETag.
    Done {
        /// As listings write it; `None` where the server gives none.
        e_tag: Option<String>,
    },
    /// The condition does not hold.
    Changed,
    /// Another write of the same object was under way: try again.
    Busy,
}

impl S3Store {
    /// Puts a local file at `key`, if `condition` holds in the very moment in which it becomes visible. Large files go
    /// in parts, whose completion is on the same condition; what was sent of a put that fails is removed. A put whose
    /// answer was lost has succeeded if the same content is there.
    ///
    /// `metadata` is the object's own: lower-case names, values in ASCII.
    pub async fn put_file(
        &self,
        file: &FsPath,
        key: &Path,
        condition: Condition,
        metadata: &[(&str, String)],
    ) -> Result<FilePut> {
        self.put_file_in_parts_above(ONE_REQUEST_BYTES, file, key, condition, metadata).await
    }

    pub(super) async fn put_file_in_parts_above(
        &self,
        one_request_bytes: u64,
        file: &FsPath,
        key: &Path,
        condition: Condition,
        metadata: &[(&str, String)],
    ) -> Result<FilePut> {
        let key = key_of_path(key);
        let asked = self.asked("s3:PutObject", &key);
        let (size, hash) = size_and_hash(file.to_owned()).await.map_err(|error| local(file, error))?;
        let mut labels = Labels::default();
        labels.metadata.extend(metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        labels.metadata.insert(MARK.to_owned(), hash);
        let outcome = if size <= one_request_bytes {
            let body = ByteStream::from_path(file).await.map_err(|error| asked.broken_by(error))?;
            self.put_once(&key, body, &condition, &labels).await?
        } else {
            Parts { store: self, asked: &asked, file, size }.put(&condition, &labels).await?
        };
        Ok(match outcome {
            Outcome::Done(PutResult { e_tag, .. }) => FilePut::Done { e_tag },
            Outcome::Changed(_) => FilePut::Changed,
            Outcome::Busy(_) => FilePut::Busy,
        })
    }

    /// Removes the parts of an upload that will not be completed.
    pub(super) async fn abort_upload(&self, asked: &Asked, upload: &str) -> Result<()> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(&asked.key).upload_id(upload);
        match request.send().await.map_err(Said::of) {
            Ok(_) => Ok(()),
            // It was completed or removed already.
            Err(said) if said.status == Some(404) => Ok(()),
            Err(said) => Err(asked.failed(said)),
        }
    }

    /// Begins an upload in parts; gives its name.
    pub(super) async fn begin_upload(&self, asked: &Asked, labels: &Labels) -> Result<String> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(&asked.key);
        let begun = labelled!(request, labels).send().await.map_err(|error| asked.failed(Said::of(error)))?;
        begun.upload_id.ok_or_else(|| asked.broken("an upload in parts has no name"))
    }

    /// Sends one part.
    pub(super) async fn put_part(
        &self,
        asked: &Asked,
        upload: &str,
        number: i32,
        body: ByteStream,
    ) -> Result<CompletedPart> {
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&asked.key)
            .upload_id(upload)
            .part_number(number)
            .body(body);
        let sent = request.send().await.map_err(|error| asked.failed(Said::of(error)))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .set_checksum_crc64_nvme(sent.checksum_crc64_nvme);
        Ok(part.build())
    }

    /// Makes the object out of its parts, on a condition.
    pub(super) async fn complete_upload(
        &self,
        asked: &Asked,
        upload: &str,
        parts: Vec<CompletedPart>,
        condition: &Condition,
        mark: Option<&str>,
    ) -> Result<Outcome> {
        let (if_match, if_none_match) = condition.headers();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&asked.key)
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .set_if_match(if_match)
            .set_if_none_match(if_none_match);
        match request.send().await {
            Ok(done) => Ok(Outcome::Done(PutResult { e_tag: done.e_tag, version: done.version_id })),
            Err(error) => self.after_failure(&asked.key, condition, mark, Said::of(error)).await,
        }
    }
}

/// A file that is put in parts.
struct Parts<'a> {
    store: &'a S3Store,
    asked: &'a Asked,
    file: &'a FsPath,
    size: u64,
}

impl Parts<'_> {
    async fn put(&self, condition: &Condition, labels: &Labels) -> Result<Outcome> {
        let upload = self.store.begin_upload(self.asked, labels).await?;
        let outcome = self.send_and_complete(&upload, condition, labels).await;
        if !matches!(outcome, Ok(Outcome::Done(_)))
            && let Err(error) = self.store.abort_upload(self.asked, &upload).await
        {
            tracing::warn!(key = self.asked.key, %error, "could not remove the parts of an upload that failed");
        }
        outcome
    }

    async fn send_and_complete(&self, upload: &str, condition: &Condition, labels: &Labels) -> Result<Outcome> {
        let part_bytes = PART_BYTES.max(self.size.div_ceil(MAX_PARTS)).max(MIN_PART_BYTES);
        let starts = (0..self.size).step_by(usize::try_from(part_bytes).expect("parts are small"));
        let parts = stream::iter(starts.zip(1..))
            .map(|(start, number)| self.send(upload, number, start, part_bytes.min(self.size - start)))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        self.store.complete_upload(self.asked, upload, parts, condition, labels.mark()).await
    }

    async fn send(&self, upload: &str, number: i32, start: u64, bytes: u64) -> Result<CompletedPart> {
        let body = ByteStream::read_from().path(self.file).offset(start).length(Length::Exact(bytes)).build().await;
        let body = body.map_err(|error| self.asked.broken_by(error))?;
        self.store.put_part(self.asked, upload, number, body).await
    }
}

async fn size_and_hash(file: PathBuf) -> std::io::Result<(u64, String)> {
    let hashed = tokio::task::spawn_blocking(move || {
        let mut file = File::open(file)?;
        let (mut hash, mut size, mut buffer) = (Md5::new(), 0, vec![0; 256 << 10]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((size, hexadecimal(&hash.finalize()))),
                read => {
                    hash.update(&buffer[..read]);
                    size += read as u64;
                }
            }
        }
    });
    hashed.await.map_err(std::io::Error::other)?
}

fn local(file: &FsPath, error: std::io::Error) -> Error {
    let text = format!("could not read {} to put it into a bucket: {error}", file.display());
    Error::Generic { store: "local file", source: text.into() }
}
