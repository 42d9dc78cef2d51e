//! How whole files get to their fixed names: the part of the features store that differs between places.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::StoreError;

/// Replaces whole files atomically. One implementation for a directory (lock file, rename, fsync), one for S3
/// (conditional PUT); everything else about publishing is the same for both.
#[async_trait]
pub trait Publisher: Send + Sync + fmt::Debug {
    /// Makes an empty local file in which the content for `key` is staged.
    async fn stage(&self, key: &Path) -> Result<Box<dyn Staged>, StoreError>;

    /// Keeps the other publishers of `key` out until the guard is dropped; where compare-and-swap alone decides, the
    /// guard does nothing.
    async fn lock(&self, key: &Path) -> Result<Arc<dyn Any + Send + Sync>, StoreError>;

    /// Puts a staged file at `key` durably, if what is there is still `found` (`None`: nothing is there).
    async fn put(&self, staged: Box<dyn Staged>, key: &Path, found: Option<&ObjectMeta>) -> Result<Put, StoreError>;

    /// Removes what is at `key` if it is still `found`; that it is gone or changed is no error.
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
