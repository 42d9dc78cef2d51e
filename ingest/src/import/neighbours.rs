//! Which other imports have files in a chunk: their names tell, where the layout has room for the content.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use futures::TryStreamExt;
use neartime_model::{Chunk, FileKey};
use object_store::{Error, ObjectStore};
use tokio::runtime::Handle;

use super::ImportError;
use super::name::{CONTENT_CHARACTERS, ContentId, Names, is_content};
use crate::location::Location;

/// The imported files beside those that are being made, listed once a folder.
pub(super) struct Neighbours<'a> {
    location: &'a Location,
    runtime: Handle,
    /// What this import has made, or has found from an earlier time.
    ours: BTreeSet<String>,
    /// Keys by their folder.
    folders: HashMap<String, Vec<String>>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(location: &'a Location, runtime: Handle) -> Self {
        Self { location, runtime, ours: BTreeSet::new(), folders: HashMap::new() }
    }

    /// Notes what the names of this import's own files tell.
    pub(super) fn ours(&mut self, content: ContentId) {
        self.ours.insert(content.to_string());
    }

    /// What the names of other imports' files of this chunk tell of their content.
    pub(super) fn of(
        &mut self,
        names: &Names<'_>,
        chunk: Chunk,
        content: ContentId,
    ) -> Result<BTreeSet<String>, ImportError> {
        let Some((key, at)) = names.telling(chunk, content) else { return Ok(BTreeSet::new()) };
        let folder = key[..at].rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        if !self.folders.contains_key(&folder) {
            let listed = self.list(&folder)?;
            self.folders.insert(folder.clone(), listed);
        }
        let free = content.to_string();
        let other = |listed: &String| {
            let mark = listed.get(at..at + CONTENT_CHARACTERS).filter(|mark| is_content(mark))?;
            (listed.replace(mark, &free) == key && !self.ours.contains(mark)).then(|| mark.to_owned())
        };
        Ok(self.folders[&folder].iter().filter_map(other).collect())
    }

    /// The keys below a folder.
    fn list(&self, folder: &str) -> Result<Vec<String>, ImportError> {
        let below = self.location.object_path(&FileKey::new(folder));
        let listed = self.runtime.block_on(async {
            let files = self.location.store().list(Some(&below));
            files.map_ok(|file| self.location.key_of(&file.location).map(Cow::into_owned)).try_collect::<Vec<_>>().await
        });
        match listed {
            Ok(keys) => Ok(keys.into_iter().flatten().collect()),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(cause) => Err(ImportError::Unavailable { location: self.location.to_string(), cause }),
        }
    }
}
