//! What a layout tells of folders.

use neartime_model::Instant;

use crate::layout::{FolderMatch, Layout, TimeRange};

/// How a folder stands to the files from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    Never,
    OutOfRange,
    Wanted { whole: bool, cutoff: Option<Instant> },
}

pub fn folder(layout: &Layout, folder: &str, depth: usize, from: Instant) -> Folder {
    match layout.match_folder(folder, depth, &|_| TimeRange { from, ..TimeRange::ALL }) {
        FolderMatch::Never => Folder::Never,
        FolderMatch::OutOfRange => Folder::OutOfRange,
        FolderMatch::Wanted { whole, cutoff } => Folder::Wanted { whole, cutoff },
    }
}

pub fn names_from(layout: &Layout, cutoff: Instant) -> Option<String> {
    layout.names_from(cutoff)
}
