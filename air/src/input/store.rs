//! The features store that a report is made from: a directory, or a prefix of a bucket.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt;
use neartime_engine::FeatureTable;
use neartime_model::{Chunk, Instant, Partition, PartitionColumn};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::files::{self, FileId, Listed, is_hidden};
use crate::error::AirError;

/// Where the features store lies.
#[derive(Clone, Debug)]
pub enum FeaturesPlace {
    /// A directory.
    Directory(PathBuf),
    /// A bucket, or anything else that looks like one.
    Bucket {
        /// The bucket.
        objects: Arc<dyn ObjectStore>,
        /// The key below which the features' folders lie.
        prefix: Path,
    },
}

/// Reads the features store from threads that may block.
#[derive(Clone, Debug)]
pub(crate) struct FeatureFiles {
    pub(crate) place: FeaturesPlace,
    /// Where objects are kept while they are read.
    pub(crate) scratch: PathBuf,
    pub(crate) runtime: Handle,
}

impl FeatureFiles {
    /// Lists a feature's files of chunks that end at or before `until`, in order of their paths.
    pub(crate) fn list(&self, table: &FeatureTable, until: Instant) -> Result<Vec<Listed>, AirError> {
        let mut found = match &self.place {
            FeaturesPlace::Directory(root) => files::list(root, table, until)?,
            FeaturesPlace::Bucket { objects, prefix } => {
                let prefix = key_of(prefix, table.name.as_str());
                self.runtime.block_on(list_objects(objects.as_ref(), &prefix, table, until))?
            }
        };
        found.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        Ok(found)
    }

    /// Opens the file of a path; an object is fetched first. `None` if it is no longer there.
    pub(crate) fn open(&self, path: &str) -> Result<Option<(File, FileId)>, AirError> {
        match &self.place {
            FeaturesPlace::Directory(root) => files::open(&root.join(path)),
            FeaturesPlace::Bucket { objects, prefix } => {
                let key = key_of(prefix, path);
                self.runtime.block_on(self.fetch(objects.as_ref(), &key))
            }
        }
    }

    /// The end of a feature's newest chunk, found from the newest folders without listing the others.
    pub(crate) fn newest_chunk_end(&self, table: &FeatureTable) -> Result<Option<Instant>, AirError> {
        let mut folder = table.name.to_string();
        self.newest_below(&mut folder, PartitionColumn::of_width(table.width), table)
    }

    fn newest_below(
        &self,
        folder: &mut String,
        levels: &[PartitionColumn],
        table: &FeatureTable,
    ) -> Result<Option<Instant>, AirError> {
        let Some((level, deeper)) = levels.split_first() else {
            let partition = folder.split_once('/').map_or("", |(_, partition)| partition);
            let Ok(chunk) = Partition::parse(partition, table.width) else { return Ok(None) };
            let any = self.names(folder)?.iter().any(|name| name.ends_with(".parquet"));
            return Ok(any.then(|| chunk.end()));
        };
        let mut names = self.names(folder)?;
        names.retain(|name| name.strip_prefix(level.name()).is_some_and(|value| value.starts_with('=')));
        // Values are padded with zeros, so that text sorts as time does.
        names.sort_unstable_by(|left, right| right.cmp(left));
        for name in names {
            let length = folder.len();
            folder.push('/');
            folder.push_str(&name);
            let found = self.newest_below(folder, deeper, table)?;
            folder.truncate(length);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What lies directly in a folder; hidden names are left out.
    fn names(&self, folder: &str) -> Result<Vec<String>, AirError> {
        match &self.place {
            FeaturesPlace::Directory(root) => {
                Ok(files::entries(&root.join(folder))?.into_iter().map(|(name, _)| name).collect())
            }
            FeaturesPlace::Bucket { objects, prefix } => {
                let folder = key_of(prefix, folder);
                let listed = self.runtime.block_on(objects.list_with_delimiter(Some(&folder)));
                let listed = listed.map_err(AirError::bucket("list", &folder))?;
                let keys = listed.common_prefixes.iter().chain(listed.objects.iter().map(|object| &object.location));
                let names = keys.filter_map(|key| key.filename().map(str::to_owned));
                Ok(names.filter(|name| !is_hidden(name)).collect())
            }
        }
    }

    /// Fetches an object into a file without a name: its reader may jump, and memory stays small.
    async fn fetch(&self, objects: &dyn ObjectStore, key: &Path) -> Result<Option<(File, FileId)>, AirError> {
        let found = match objects.get(key).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(AirError::bucket("read", key)(error)),
        };
        let id = FileId::of_object(&found.meta);
        let scratch = AirError::file("write a temporary file in", &self.scratch);
        let mut file =
            unnamed_file(&self.scratch).map_err(AirError::file("create a temporary file in", &self.scratch))?;
        let mut bytes = found.into_stream();
        let mut written = Ok(());
        while let Some(some) = bytes.try_next().await.map_err(AirError::bucket("read", key))? {
            written = written.and_then(|()| file.write_all(&some));
        }
        written.map_err(scratch)?;
        Ok(Some((file, id)))
    }
}

/// A path below the features store as a key; both are percent-encoded where they must be.
fn key_of(prefix: &Path, path: &str) -> Path {
    let whole = if prefix.as_ref().is_empty() { path.to_owned() } else { format!("{prefix}/{path}") };
    Path::parse(whole).expect("features, partitions and file names make valid keys")
}

async fn list_objects(
    objects: &dyn ObjectStore,
    prefix: &Path,
    table: &FeatureTable,
    until: Instant,
) -> Result<Vec<Listed>, AirError> {
    let mut found = Vec::new();
    let mut listing = objects.list(Some(prefix));
    while let Some(object) = listing.try_next().await.map_err(AirError::bucket("list", prefix))? {
        let below = object.location.as_ref().strip_prefix(prefix.as_ref()).and_then(|path| path.strip_prefix('/'));
        if let Some((path, chunk)) = below.and_then(|below| chunk_of(below, table))
            && chunk.end() <= until
        {
            found.push(Listed { path, feature: table.name.clone(), chunk, id: FileId::of_object(&object) });
        }
    }
    Ok(found)
}

/// The path and chunk of what lies `below` a feature's folder, if it is one of its files.
fn chunk_of(below: &str, table: &FeatureTable) -> Option<(String, Chunk)> {
    let (partition, name) = below.rsplit_once('/')?;
    if is_hidden(name) || !name.ends_with(".parquet") {
        return None;
    }
    let chunk = Partition::parse(partition, table.width).ok()?;
    Some((format!("{}/{below}", table.name), chunk))
}

/// A file that goes with its last handle.
fn unnamed_file(folder: &std::path::Path) -> std::io::Result<File> {
    let mut attempt = 0_u32;
    loop {
        let path = folder.join(format!(".object-{}-{attempt}", std::process::id()));
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => return std::fs::remove_file(&path).map(|()| file),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
