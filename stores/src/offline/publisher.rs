//! How whole files get to their fixed names: the part of the features store that differs between places.

use std::any::Any;
use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::StoreError;

/// Replaces whole files atomically. One implementation for a directory (lock file, rename, fsync), one for S3
/// (conditional PUT); everything else about publishing is the same for both.
#[async_trait]
pub trait Publisher: Send + Sync + fmt::Debug {
    /// Makes what the file at `key` will need around it, so that publishing need not wait for it.
    async fn prepare(&self, key: &Path) -> Result<(), StoreError>;

    /// Makes an empty local file in which the content for `key` is staged.
    async fn stage(&self, key: &Path) -> Result<Box<dyn Staged>, StoreError>;

    /// Keeps the other publishers of `key` out until the guard is dropped; where compare-and-swap alone decides, the
    /// guard does nothing.
    async fn lock(&self, key: &Path) -> Result<Arc<dyn Any + Send + Sync>, StoreError>;

    /// Puts a staged file at `key` durably, if what is there is still `found` (`None`: nothing is there).
    async fn put(&self, staged: Box<dyn Staged>, key: &Path, found: Option<&ObjectMeta>) -> Result<Put, StoreError>;

    /// Removes what is at `key` if it is still `found`, or leaves an object of no bytes in its place; that it is gone
    /// or changed is no error.
    async fn remove(&self, key: &Path, found: &ObjectMeta) -> Result<(), StoreError>;

    /// Removes what crashed publishers left behind; returns how many files.
    async fn sweep(&self) -> Result<u64, StoreError>;
}

/// A local file that is being filled. Dropping it removes the file.
pub trait Staged: Send + Sync + fmt::Debug {
    /// Where it is.
    fn path(&self) -> PathBuf;
}

/// What became of a [`Publisher::put`].
#[derive(Debug)]
pub enum Put {
    /// It stands there now.
    Done,
    /// What was there had changed meanwhile; the staged file comes back for another comparison.
    Changed(Box<dyn Staged>),
}

/// A bucket that takes a whole file on a condition: what a [`Publisher`] for buckets asks of a client.
#[async_trait]
pub trait ConditionalPut: Send + Sync + fmt::Debug {
    /// Puts the local `file` at `key` (the object's full key in the bucket) if the condition holds in the very moment
    /// in which it becomes visible; a file too large for one request is completed under the same condition. `metadata`
    /// is the object's own: lower-case names, values in ASCII.
    ///
    /// # Errors
    /// Unavailable if the bucket is away, throttles or refuses us.
    async fn put_file(
        &self,
        file: &FsPath,
        key: &Path,
        condition: PutCondition<'_>,
        metadata: &[(&str, String)],
    ) -> Result<PutOutcome, StoreError>;
}

/// What must be true for a put to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutCondition<'a> {
    /// Nothing is there (`If-None-Match: *`).
    Absent,
    /// The version with this ETag is there (`If-Match`), written as the store's own listings write it.
    Version(&'a str),
}

/// What became of a conditional put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The file is there.
    Done,
    /// The condition does not hold (412; or nothing is there where a version was wanted).
    Changed,
    /// Another write to the same key was under way (409): try again.
    Busy,
}
