//! Listing a bucket prefix.

use std::borrow::Cow;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;

use super::list::{Level, Listed, Lister, PAGE_FILES, join};
use crate::location::Location;

pub(super) struct BucketLister<'a> {
    location: &'a Location,
}

impl<'a> BucketLister<'a> {
    pub(super) fn new(location: &'a Location) -> Self {
        Self { location }
    }

    /// The key of an object or folder below the location. Those of an empty name directly below it have none: they
    /// could not be told from the location itself.
    fn key(&self, path: &Path) -> Option<String> {
        self.location.key_of(path).filter(|key| !key.is_empty()).map(Cow::into_owned)
    }
}

#[async_trait]
impl Lister for BucketLister<'_> {
    fn lists_deep(&self) -> bool {
        true
    }

    async fn level(&self, folder: &str) -> object_store::Result<Level> {
        let listed = self.location.store().list_with_delimiter(Some(&self.location.path_below(folder))).await?;
        Ok(Level {
            folders: listed.common_prefixes.iter().filter_map(|folder| self.key(folder)).collect(),
            files: listed
                .objects
                .iter()
                .filter_map(|object| self.key(&object.location))
                .filter(|key| is_file(key))
                .collect(),
        })
    }

    fn files<'a>(
        &'a self,
        folder: &str,
        after: Option<&str>,
        _deep: bool,
    ) -> BoxStream<'a, object_store::Result<Vec<Listed>>> {
        let prefix = self.location.path_below(folder);
        let objects = match after {
            Some(name) => {
                let offset = self.location.path_below(&join(folder, name));
                self.location.store().list_with_offset(Some(&prefix), &offset)
            }
            None => self.location.store().list(Some(&prefix)),
        };
        let listed = objects.try_filter_map(move |meta| async move {
            let version = self.location.version_of(&meta);
            let key = self.key(&meta.location).filter(|key| is_file(key));
            Ok(key.map(|key| Listed::File { key, size: meta.size, version }))
        });
        listed.try_chunks(PAGE_FILES).map_err(|error| error.1).boxed()
    }
}

/// Whether a key names a file: one with a slash at its end is what consoles write for an empty folder.
fn is_file(key: &str) -> bool {
    !key.ends_with('/')
}
