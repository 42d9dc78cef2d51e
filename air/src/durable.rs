//! Writes small files so that they are whole or absent, also after a loss of power.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::error::AirError;

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

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), AirError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(AirError::file("sync", folder))
}
