//! Lists the files of membership features in a features store on disk.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use neartime_engine::FeatureTable;
use neartime_model::{Chunk, ContentOrder, FeatureName, Instant, Partition, PartitionColumn};

use crate::error::AirError;

/// Tells one content of a path from another as long as the file lies there: size, modification time, inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) size_bytes: u64,
    pub(crate) modified_ns: i128,
    pub(crate) inode: u64,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Below the features store, with slashes: `user_sites/year=2018/…/visits.parquet`. Never needs quoting.
    pub(crate) path: String,
    pub(crate) feature: FeatureName,
    pub(crate) chunk: Chunk,
    pub(crate) id: FileId,
}

/// A file that has been read: what its footer said, and which content that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: FileId,
    pub(crate) order: ContentOrder,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { size_bytes: metadata.len(), modified_ns, inode: metadata.ino() }
    }
}

/// Lists a feature's files of chunks that end at or before `until`, in order of their paths.
pub(crate) fn list(store: &Path, table: &FeatureTable, until: Instant) -> Result<Vec<Listed>, AirError> {
    let mut found = Vec::new();
    let levels = PartitionColumn::of_width(table.width);
    let folder = store.join(table.name.as_str());
    visit(&folder, levels, &mut String::new(), &mut |folder, partition| {
        // A folder of another width is no partition of this feature.
        let Ok(chunk) = Partition::parse(partition, table.width) else { return Ok(()) };
        if chunk.end() > until {
            return Ok(());
        }
        for (name, path) in entries(folder)? {
            if !name.ends_with(".parquet") {
                continue;
            }
            let Some(metadata) = absent_is_none(std::fs::metadata(&path), &path)? else { continue };
            let path = format!("{}/{partition}/{name}", table.name);
            found.push(Listed { path, feature: table.name.clone(), chunk, id: FileId::of(&metadata) });
        }
        Ok(())
    })?;
    found.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

type Visit<'a> = dyn FnMut(&Path, &str) -> Result<(), AirError> + 'a;

/// Calls `each` with every folder that lies as deep as `levels`, and its path from the top.
fn visit(
    folder: &Path,
    levels: &[PartitionColumn],
    partition: &mut String,
    each: &mut Visit<'_>,
) -> Result<(), AirError> {
    let Some((level, deeper)) = levels.split_first() else { return each(folder, partition) };
    for (name, path) in entries(folder)? {
        if !name.strip_prefix(level.name()).is_some_and(|value| value.starts_with('=')) {
            continue;
        }
        let length = partition.len();
        if length > 0 {
            partition.push('/');
        }
        partition.push_str(&name);
        visit(&path, deeper, partition, each)?;
        partition.truncate(length);
    }
    Ok(())
}

/// What lies in a folder; nothing if it is not there. Hidden files and names that nobody here gives are left alone.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, AirError> {
    let Some(listing) = absent_is_none(std::fs::read_dir(folder), folder)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(AirError::file("list", folder))?;
        match entry.file_name().into_string() {
            Ok(name) if !name.starts_with(['.', '_']) => found.push((name, entry.path())),
            _ => {}
        }
    }
    Ok(found)
}

fn absent_is_none<T>(result: std::io::Result<T>, path: &Path) -> Result<Option<T>, AirError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(AirError::file("list", path)(error)),
    }
}
