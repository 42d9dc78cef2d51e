//! Listing a bucket prefix.

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

    fn key(&self, path: &Path) -> Option<String> {
        self.location.key_of(path).map(str::to_owned)
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
            files: listed.objects.iter().filter_map(|object| self.key(&object.location)).collect(),
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
            Ok(self.key(&meta.location).map(|key| Listed::File { key, size: meta.size, version }))
        });
        listed.try_chunks(PAGE_FILES).map_err(|error| error.1).boxed()
    }
}
