//! Publishing into a directory: dot-file, fsync, lock file, rename, fsync.

use std::any::Any;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::encode::io_error;
use super::{Publisher, Put, Staged};
use crate::StoreError;

/// Both begin with a dot, so that no reader takes them for data.
const LOCK_NAME: &str = ".lock";
const STAGED_SUFFIX: &str = ".tmp";

/// How often a lock that somebody else holds is tried again.
const LOCK_EVERY: Duration = Duration::from_millis(5);

/// Publishes below a directory.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryPublisher {
    root: PathBuf,
    /// How long it waits for a lock: its holder may be stopped, not only busy.
    patience: Duration,
}

/// A staged file. Its lock, which ends with the process, tells the sweeper that somebody is still filling it.
#[derive(Debug)]
struct StagedFile {
    path: PathBuf,
    _locked: File,
}

impl Staged for StagedFile {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After a rename there is nothing left under this name, and that is as it should be.
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "cannot remove a staged file");
            }
            _ => {}
        }
    }
}

impl DirectoryPublisher {
    pub(crate) fn new(root: PathBuf, patience: Duration) -> Self {
        Self { root, patience }
    }

    fn folder_of(&self, key: &Path) -> PathBuf {
        let mut folder: Vec<_> = key.parts().collect();
        folder.pop();
        self.root.join(folder.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
    }

    fn path_of(&self, key: &Path) -> PathBuf {
        self.root.join(key.as_ref())
    }

    /// Makes `folder` and what is missing above it, each durably before the next.
    fn make_folder(&self, folder: &FsPath) -> Result<(), StoreError> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            self.make_folder(parent)?;
        }
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("making", folder, error)),
            _ => sync_folder(folder.parent().unwrap_or(folder)),
        }
    }

    fn stage_in(&self, folder: &FsPath) -> Result<StagedFile, StoreError> {
        self.make_folder(folder)?;
        sweep_folder(folder)?;
        loop {
            // Never a name that was in use: whoever used it may still come to remove it.
            let path = folder.join(format!(".{:016x}{STAGED_SUFFIX}", fastrand::u64(..)));
            let file = File::create_new(&path).map_err(|error| io_error("making", &path, error))?;
            file.lock().map_err(|error| io_error("locking", &path, error))?;
            // A sweeper may have come between the two calls, and the name is gone: take another.
            if path.exists() {
                return Ok(StagedFile { path, _locked: file });
            }
        }
    }

    /// `None` if somebody else holds it.
    fn lock_folder(&self, folder: &FsPath) -> Result<Option<File>, StoreError> {
        self.make_folder(folder)?;
        let path = folder.join(LOCK_NAME);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| io_error("opening", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io_error("locking", &path, error)),
        }
    }
}

#[async_trait]
impl Publisher for DirectoryPublisher {
    async fn prepare(&self, key: &Path) -> Result<(), StoreError> {
        let (this, folder) = (self.clone(), self.folder_of(key));
        blocking(move || this.make_folder(&folder)).await
    }

    async fn stage(&self, key: &Path) -> Result<Box<dyn Staged>, StoreError> {
        let (this, folder) = (self.clone(), self.folder_of(key));
        blocking(move || Ok(Box::new(this.stage_in(&folder)?) as Box<dyn Staged>)).await
    }

    async fn lock(&self, key: &Path) -> Result<Arc<dyn Any + Send + Sync>, StoreError> {
        let started = std::time::Instant::now();
        loop {
            let (this, folder) = (self.clone(), self.folder_of(key));
            if let Some(locked) = blocking(move || this.lock_folder(&folder)).await? {
                return Ok(Arc::new(locked));
            }
            if started.elapsed() >= self.patience {
                let attempted = format!("locking {}", self.folder_of(key).join(LOCK_NAME).display());
                return Err(StoreError::unavailable(attempted, "somebody else holds it"));
            }
            tokio::time::sleep(LOCK_EVERY).await;
        }
    }

    async fn put(&self, staged: Box<dyn Staged>, key: &Path, _found: Option<&ObjectMeta>) -> Result<Put, StoreError> {
        // The lock keeps what was found in its place: there is nothing to compare.
        let (path, folder) = (self.path_of(key), self.folder_of(key));
        blocking(move || {
            fs::rename(staged.path(), &path).map_err(|error| io_error("renaming into", &path, error))?;
            sync_folder(&folder)?;
            Ok(Put::Done)
        })
        .await
    }

    async fn remove(&self, key: &Path, _found: &ObjectMeta) -> Result<(), StoreError> {
        let (path, folder) = (self.path_of(key), self.folder_of(key));
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("removing", &path, error)),
            _ => sync_folder(&folder),
        })
        .await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let root = self.root.clone();
        blocking(move || sweep_tree(&root)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::failed("working on the features store", error))?
}

fn sync_folder(folder: &FsPath) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io_error("syncing", folder, error))
}

fn sweep_tree(folder: &FsPath) -> Result<u64, StoreError> {
    let mut swept = sweep_folder(folder)?;
    for entry in entries(folder)? {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            swept += sweep_tree(&entry.path())?;
        }
    }
    Ok(swept)
}

/// Removes the staged files whose process is gone.
fn sweep_folder(folder: &FsPath) -> Result<u64, StoreError> {
    let mut swept = 0;
    for entry in entries(folder)? {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(STAGED_SUFFIX)) {
            continue;
        }
        let path = entry.path();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(|error| io_error("opening", &path, error))?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(io_error("locking", &path, error)),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("removing", &path, error)),
            _ => swept += 1,
        }
    }
    Ok(swept)
}

/// What a folder holds; nothing, if it is not there.
fn entries(folder: &FsPath) -> Result<Vec<fs::DirEntry>, StoreError> {
    let listed = fs::read_dir(folder).and_then(Iterator::collect);
    match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| io_error("listing", folder, error)),
    }
}
