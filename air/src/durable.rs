//! Writes small files so that they are whole or absent, also after a loss of power.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::error::AirError;
use crate::udb::stable_hash;

/// Replaces the file at `path` by one of these bytes.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), AirError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}"));
    let write = || {
        let mut file = File::create(&hidden)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&hidden, path)
    };
    write().map_err(AirError::file("write", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// What [`sealed`] appends: a name, a tab, sixteen digits and a line's end.
const SEAL_BYTES: usize = 6 + 16 + 1;

/// Appends a line by which [`unsealed`] can tell whether a text is what was written.
pub(crate) fn sealed(mut text: String) -> String {
    let check = stable_hash(text.as_bytes());
    writeln!(text, "check\t{check:016x}").expect("writing to a String cannot fail");
    text
}

/// The text that was sealed; `None` if it is another one now.
pub(crate) fn unsealed(text: &str) -> Option<&str> {
    let (text, seal) = text.split_at_checked(text.len().checked_sub(SEAL_BYTES)?)?;
    let check = seal.strip_prefix("check\t")?.strip_suffix('\n')?;
    (u64::from_str_radix(check, 16).ok()? == stable_hash(text.as_bytes())).then_some(text)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), AirError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(AirError::file("sync", folder))
}

/// A file whose bytes may still be on their way to the disk.
#[derive(Debug)]
#[must_use = "it is not durable before it is synced"]
pub(crate) struct Unsynced {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl Unsynced {
    /// Waits until the disk has it.
    pub(crate) fn sync(self) -> Result<(), AirError> {
        self.file.sync_data().map_err(AirError::file("sync", &self.path))
    }
}

/// Syncs files on a thread of its own, so that the next one is made while the disk takes the last.
#[derive(Debug)]
pub(crate) struct Syncs {
    files: Sender<Unsynced>,
    thread: JoinHandle<Result<(), AirError>>,
}

impl Syncs {
    pub(crate) fn begin() -> Self {
        let (files, waiting) = channel::<Unsynced>();
        let thread = std::thread::spawn(move || waiting.into_iter().try_for_each(Unsynced::sync));
        Self { files, thread }
    }

    pub(crate) fn push(&self, file: Unsynced) {
        // A thread that is gone has an error, which `end` tells.
        let _ = self.files.send(file);
    }

    /// Waits until all are synced.
    pub(crate) fn end(self) -> Result<(), AirError> {
        drop(self.files);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
