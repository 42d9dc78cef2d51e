//! What a walk asks of a location: the folders in a folder, and the files in it.

use async_trait::async_trait;
use futures::stream::BoxStream;
use neartime_model::FileVersion;

use super::bucket::BucketLister;
use super::directory::DirectoryLister;
use crate::location::Location;

/// Files that are handed on together.
pub(super) const PAGE_FILES: usize = 1_000;

/// One entry of a listing; keys are below the location.
pub(super) enum Listed {
    File {
        key: String,
        size: u64,
        version: FileVersion,
    },
    /// A file whose name nothing can open, as it can be shown.
    Unusable {
        key: String,
    },
}

/// One level of folders.
#[derive(Default)]
pub(super) struct Level {
    /// Keys of the folders directly in the folder, without a slash at their ends.
    pub(super) folders: Vec<String>,
    /// Keys of the files directly in it.
    pub(super) files: Vec<String>,
}

/// Lists one location.
///
/// A directory has one of its own, not that of `object_store`: the latter fails as a whole where one name is odd,
/// goes down into hidden folders, asks for the size of files that are not wanted, and takes a directory that is away
/// for an empty one.
#[async_trait]
pub(super) trait Lister: Send + Sync {
    /// Whether [`Self::files`] gives the files of all folders below for the price of their number.
    fn lists_deep(&self) -> bool;

    /// What is directly in `folder`, in no order; nothing for a folder that is not there.
    async fn level(&self, folder: &str) -> object_store::Result<Level>;

    /// The files in `folder` whose names sort after `after`, in no order; those below it too if `deep`, or if they
    /// come along anyway.
    fn files<'a>(
        &'a self,
        folder: &str,
        after: Option<&str>,
        deep: bool,
    ) -> BoxStream<'a, object_store::Result<Vec<Listed>>>;
}

pub(super) fn lister(location: &Location) -> Box<dyn Lister + '_> {
    match location.as_directory() {
        Some(directory) => Box::new(DirectoryLister::new(location, directory)),
        None => Box::new(BucketLister::new(location)),
    }
}

/// `folder/name`, or the name alone at the location itself.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
