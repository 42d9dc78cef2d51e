//! The folder of the user database: one run of the report at a time works in it.
//!
//! ```text
//! lock                          held while a report is made
//! <fingerprint>/dictionary      names and their numbers
//! <fingerprint>/days/<day>-<fence>/manifest, 0000.users, …
//! <fingerprint>/recent/<name>   copies of the chunks after the snapshot
//! <fingerprint>/state           the last report's counts
//! <fingerprint>/shared          of which place in a bucket, and of which list there, all this is a copy, if it is one
//! ```
//!
//! Everything here can be made again from the features store; removing the folder costs time, nothing else.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use neartime_model::{Fence, Instant, Span};

use super::snapshot::Snapshot;
use crate::error::AirError;

/// How long a run waits for the one before it.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(50);

/// The folder, locked until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    fingerprint: String,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, and waits until nobody else works in it, though not for ever.
    pub(crate) fn lock(root: &Path, fingerprint: String) -> Result<Self, AirError> {
        let (lock, path) = open_lock(root)?;
        wait_for(&lock, &path)?;
        Self::locked(root, fingerprint, lock)
    }

    /// The same without waiting: `None` if somebody works in it.
    pub(crate) fn try_lock(root: &Path, fingerprint: String) -> Result<Option<Self>, AirError> {
        let (lock, path) = open_lock(root)?;
        match lock.try_lock() {
            Ok(()) => Self::locked(root, fingerprint, lock).map(Some),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(AirError::file("lock", &path)(error)),
        }
    }

    fn locked(root: &Path, fingerprint: String, lock: File) -> Result<Self, AirError> {
        let folder = Self { root: root.to_owned(), fingerprint, _lock: lock };
        for path in [folder.days(), folder.recent()] {
            std::fs::create_dir_all(&path).map_err(AirError::file("create", &path))?;
        }
        Ok(folder)
    }

    pub(crate) fn days(&self) -> PathBuf {
        days(&self.root, &self.fingerprint)
    }

    pub(crate) fn recent(&self) -> PathBuf {
        self.here().join("recent")
    }

    pub(crate) fn dictionary(&self) -> PathBuf {
        dictionary(&self.root, &self.fingerprint)
    }

    pub(crate) fn state(&self) -> PathBuf {
        state(&self.root, &self.fingerprint)
    }

    /// A name for the snapshot that ends at `end`, made under `fence`.
    pub(crate) fn name(end: Instant, fence: Fence) -> String {
        let day = (end - Span::from_days(1)).to_string();
        format!("{}-{fence}", day.split('T').next().unwrap_or_default())
    }

    /// All snapshots, the latest end first. Damaged ones, and drafts of runs that died, are removed.
    pub(crate) fn snapshots(&self) -> Result<Vec<Snapshot>, AirError> {
        let mut found = Vec::new();
        for path in everything(&self.days())?.iter().filter(|path| is_hidden(path)) {
            remove_folder(path)?;
        }
        for path in visible(&self.days())? {
            match Snapshot::open(&path) {
                Ok(snapshot) => found.push(snapshot),
                Err(error @ AirError::DamagedUdb { .. }) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "snapshot removed");
                    remove_folder(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.end));
        Ok(found)
    }

    /// Removes a snapshot.
    pub(crate) fn remove(&self, snapshot: &Snapshot) -> Result<(), AirError> {
        remove_folder(snapshot.folder())
    }

    /// Removes copies of recent chunks that are not `wanted`, and what earlier configurations left.
    pub(crate) fn tidy(&self, wanted: &BTreeSet<&str>) -> Result<(), AirError> {
        for path in everything(&self.recent())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !wanted.contains(name.as_ref()) {
                remove_file(&path)?;
            }
        }
        for path in everything(&self.root)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Only what a fingerprint can be: the folder is ours, but a person may keep notes in it.
            let fingerprint = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if fingerprint && *name != self.fingerprint {
                remove_folder(&path)?;
            }
        }
        Ok(())
    }

    /// Forgets everything that was made under this configuration.
    pub(crate) fn clear(&self) -> Result<(), AirError> {
        remove_folder(&self.here())?;
        for path in [self.days(), self.recent()] {
            std::fs::create_dir_all(&path).map_err(AirError::file("create", &path))?;
        }
        Ok(())
    }

    /// What the next report wants, with sizes in bytes, by path below [`Folder::here`]: the dictionary, the state, the
    /// copies of recent chunks, and so many of the latest snapshots.
    pub(crate) fn files(&self, snapshots: usize) -> Result<Vec<(String, u64)>, AirError> {
        let mut paths: Vec<PathBuf> =
            [self.dictionary(), self.state()].into_iter().filter(|path| path.exists()).collect();
        paths.extend(visible(&self.recent())?);
        for snapshot in self.snapshots()?.iter().take(snapshots) {
            paths.extend(visible(snapshot.folder())?);
        }
        let here = self.here();
        let file = |path: PathBuf| {
            let size_bytes = std::fs::metadata(&path).map_err(AirError::file("look at", &path))?.len();
            let below = path.strip_prefix(&here).expect("all of it lies here");
            Ok((below.to_string_lossy().into_owned(), size_bytes))
        };
        paths.into_iter().map(file).collect()
    }

    /// Removes snapshots and copies of which nothing is `wanted`, and the state, which refers to them.
    pub(crate) fn keep_only(&self, wanted: &BTreeSet<PathBuf>) -> Result<(), AirError> {
        remove_file(&self.state())?;
        for path in everything(&self.days())? {
            if !wanted.iter().any(|wanted| wanted.starts_with(&path)) {
                remove_folder(&path)?;
            }
        }
        everything(&self.recent())?.iter().filter(|path| !wanted.contains(*path)).try_for_each(|path| remove_file(path))
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The note of which list in a bucket this is a copy of.
    pub(crate) fn shared(&self) -> PathBuf {
        self.here().join("shared")
    }

    /// Where everything of this configuration lies.
    pub(crate) fn here(&self) -> PathBuf {
        self.root.join(&self.fingerprint)
    }
}

fn open_lock(root: &Path) -> Result<(File, PathBuf), AirError> {
    std::fs::create_dir_all(root).map_err(AirError::file("create", root))?;
    let path = root.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    Ok((lock.map_err(AirError::file("open", &path))?, path))
}

fn wait_for(lock: &File, path: &Path) -> Result<(), AirError> {
    let begun = std::time::Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(AirError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(AirError::file("lock", path)(error)),
        }
    }
}

/// Where the snapshots lie, for readers that hold no lock.
pub(crate) fn days(root: &Path, fingerprint: &str) -> PathBuf {
    root.join(fingerprint).join("days")
}

/// Where the dictionary lies, for readers that hold no lock.
pub(crate) fn dictionary(root: &Path, fingerprint: &str) -> PathBuf {
    root.join(fingerprint).join("dictionary")
}

/// Where the last report's state lies, for readers that hold no lock.
pub(crate) fn state(root: &Path, fingerprint: &str) -> PathBuf {
    root.join(fingerprint).join("state")
}

/// What lies in a folder, but for hidden files; nothing if it is not there.
pub(crate) fn visible(folder: &Path) -> Result<Vec<PathBuf>, AirError> {
    let mut found = everything(folder)?;
    found.retain(|path| !is_hidden(path));
    Ok(found)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap_or_default().to_string_lossy().starts_with('.')
}

fn everything(folder: &Path) -> Result<Vec<PathBuf>, AirError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(AirError::file("list", folder)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(AirError::file("list", folder)(error)),
    }
}

fn remove_file(path: &Path) -> Result<(), AirError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(AirError::file("remove", path)(error)),
        _ => Ok(()),
    }
}

fn remove_folder(path: &Path) -> Result<(), AirError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(AirError::file("remove", path)(error)),
        _ => Ok(()),
    }
}
