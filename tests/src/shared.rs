//! The real day of Wikipedia edits that tests compare with where it is at hand.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the wikiticker data, or `None` (and a message) where this checkout has none beside it.
pub fn wikiticker() -> Option<PathBuf> {
    let folder = std::env::var_os("NEARTIME_SHARED_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"))
        .join("wikiticker");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no wikiticker data beside this checkout (set NEARTIME_SHARED_DATA to its folder)");
    None
}

/// Unpacks the raw reservoir into `target`, which then holds `in/edits/wikipedia/…`.
pub fn unpack_reservoir(data: &Path, target: &Path) {
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(data.join("raw-data-reservoir.tar"))
        .arg("-C")
        .arg(target)
        .status()
        .expect("tar starts");
    assert!(unpacked.success(), "tar could not unpack the reservoir");
}

/// The rows of one of its expected tables, without the header.
pub fn expected(data: &Path, table: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(data.join(table)).expect("an expected table");
    reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect()
}
