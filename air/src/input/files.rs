//! The files of membership features: what tells one content from another, and how a directory of them is listed.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use neartime_engine::FeatureTable;
use neartime_model::{Chunk, ContentOrder, FeatureName, Instant, Partition, PartitionColumn};
use object_store::ObjectMeta;

use crate::error::AirError;
use crate::udb::stable_hash;

/// Tells one content of a path from another as long as the file lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) size_bytes: u64,
    /// On disk the modification time; 0 for an object, whose tag tells enough.
    pub(crate) modified_ns: i128,
    /// On disk the inode; of an object a hash of its ETag (or of its version, or of its time where a store has neither).
    pub(crate) tag: u64,
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
    /// See [`content_of`].
    pub(crate) content: u64,
}

/// So much of a file is hashed at a time.
const PIECE_BYTES: u64 = 64 << 10;

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { size_bytes: metadata.len(), modified_ns, tag: metadata.ino() }
    }

    pub(crate) fn of_object(meta: &ObjectMeta) -> Self {
        let version = match (&meta.e_tag, &meta.version) {
            // Listings and answers do not agree on the quotes.
            (Some(tag), _) => tag.trim_matches('"').to_owned(),
            (None, Some(version)) => version.clone(),
            // Answers tell the time in whole seconds.
            (None, None) => meta.last_modified.timestamp().to_string(),
        };
        Self { size_bytes: meta.size, modified_ns: 0, tag: stable_hash(version.as_bytes()) }
    }
}

/// A hash of all bytes of the file of this `path`. Two files of one order may differ: a feature can be computed anew
/// from columns that were read wrongly before, or under a task database that begins again.
pub(crate) fn content_of(path: &str, file: &File, size_bytes: u64) -> Result<u64, AirError> {
    // Each piece is hashed behind the hash of those before it.
    let (mut piece, mut hash) = (vec![0; 8 + size_bytes.min(PIECE_BYTES) as usize], 0_u64);
    let mut at = 0;
    while at < size_bytes {
        let end = 8 + (size_bytes - at).min(PIECE_BYTES) as usize;
        piece[..8].copy_from_slice(&hash.to_le_bytes());
        file.read_exact_at(&mut piece[8..end], at).map_err(AirError::file("read", Path::new(path)))?;
        hash = stable_hash(&piece[..end]);
        at += (end - 8) as u64;
    }
    Ok(hash)
}

/// Opens a file; `None` if it is no longer there.
pub(super) fn open(path: &Path) -> Result<Option<(File, FileId)>, AirError> {
    let Some(file) = absent_is_none(File::open(path), path)? else { return Ok(None) };
    let id = FileId::of(&file.metadata().map_err(AirError::file("look at", path))?);
    Ok(Some((file, id)))
}

/// Lists a feature's files of chunks that end at or before `until`.
pub(super) fn list(store: &Path, table: &FeatureTable, until: Instant) -> Result<Vec<Listed>, AirError> {
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
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, AirError> {
    let Some(listing) = absent_is_none(std::fs::read_dir(folder), folder)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(AirError::file("list", folder))?;
        match entry.file_name().into_string() {
            Ok(name) if !is_hidden(&name) => found.push((name, entry.path())),
            _ => {}
        }
    }
    Ok(found)
}

pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn absent_is_none<T>(result: std::io::Result<T>, path: &Path) -> Result<Option<T>, AirError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(AirError::file("list", path)(error)),
    }
}
