//! The directory tree as an object store that is quick with many small files.
//!
//! A month of ten-minute chunks is 4,464 files a feature, of some kilobytes each. To hand every one of their reads to
//! another thread, as [`LocalFileSystem`] does, costs more than the read. Small ranges are read where they are asked
//! for; everything else is left to [`LocalFileSystem`].

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// The largest range that is read at once.
const SMALL_BYTES: u64 = 256 * 1024;

/// About how many files a listing finds before it hands them on.
const LISTED_FILES: usize = 1_000;

/// The local file system from its root. Listings leave out what begins with a dot, as every reader of the tree does.
#[derive(Debug, Default)]
pub(crate) struct LocalTree {
    inner: LocalFileSystem,
}

impl LocalTree {
    pub(crate) fn new() -> Self {
        Self { inner: LocalFileSystem::new() }
    }
}

impl fmt::Display for LocalTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for LocalTree {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // Whatever goes wrong here goes wrong there too, where the error is made.
        let Ok((file, meta)) = open(location) else { return self.inner.get_opts(location, options).await };
        options.check_preconditions(&meta)?;
        let whole = 0..meta.size;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|error| generic(Box::new(error)))?,
            None => whole,
        };
        let length = range.end - range.start;
        let payload = if options.head || length > SMALL_BYTES {
            GetResultPayload::File(file, path_of(location))
        } else {
            let mut bytes = vec![0; usize::try_from(length).expect("small")];
            file.read_exact_at(&mut bytes, range.start).map_err(|error| generic(Box::new(error)))?;
            GetResultPayload::Stream(stream::iter([Ok(Bytes::from(bytes))]).boxed())
        };
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folders = vec![prefix.cloned().unwrap_or_default()];
        let batches = stream::try_unfold(folders, |folders| async move {
            if folders.is_empty() {
                return Ok(None);
            }
            let listed = tokio::task::spawn_blocking(move || list_some(folders)).await;
            listed.map_err(|error| generic(Box::new(error)))?.map(Some)
        });
        batches.map_ok(|files| stream::iter(files).map(Ok)).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn path_of(location: &Path) -> PathBuf {
    PathBuf::from(format!("/{location}"))
}

fn open(location: &Path) -> io::Result<(File, ObjectMeta)> {
    let file = File::open(path_of(location))?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let meta = meta_of(location.clone(), &metadata)?;
    Ok((file, meta))
}

/// What [`LocalFileSystem`] says of the same file, to the letter: its ETags are compared with these.
fn meta_of(location: Path, metadata: &Metadata) -> io::Result<ObjectMeta> {
    let modified = metadata.modified()?;
    let micros = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_micros();
    let tag = format!("{:x}-{micros:x}-{:x}", metadata.ino(), metadata.len());
    Ok(ObjectMeta { location, last_modified: modified.into(), size: metadata.len(), e_tag: Some(tag), version: None })
}

/// Lists folders until some files are found, and gives what is still to be listed back.
fn list_some(mut folders: Vec<Path>) -> Result<(Vec<ObjectMeta>, Vec<Path>)> {
    let mut files = Vec::new();
    while files.len() < LISTED_FILES {
        let Some(folder) = folders.pop() else { break };
        match list_folder(&folder, &mut files, &mut folders) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(generic(Box::new(error))),
            _ => {}
        }
    }
    Ok((files, folders))
}

fn list_folder(folder: &Path, files: &mut Vec<ObjectMeta>, folders: &mut Vec<Path>) -> io::Result<()> {
    for entry in fs::read_dir(path_of(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        // What has no name in UTF-8 is none of ours.
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let below = if folder.as_ref().is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let Ok(location) = Path::parse(below) else { continue };
        let kind = entry.file_type()?;
        // A link is what it leads to. What has gone meanwhile is not there.
        let metadata = if kind.is_symlink() { fs::metadata(entry.path()) } else { entry.metadata() };
        match metadata {
            Ok(metadata) if metadata.is_dir() => folders.push(location),
            Ok(metadata) => files.push(meta_of(location, &metadata)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a file system refused a name for its length.
pub(super) fn is_too_long(error: &Error) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    causes.any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() == ErrorKind::InvalidFilename)
    })
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "LocalTree", source }
}

#[cfg(test)]
mod tests {
    use object_store::{GetRange, ObjectStoreExt};

    use super::*;

    #[tokio::test]
    async fn it_says_what_the_local_file_system_says() {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::from_absolute_path(folder.path()).unwrap();
        let large = vec![7_u8; usize::try_from(SMALL_BYTES).unwrap() + 9];
        for (name, bytes) in [("a/b%2Ec.parquet", &b"0123456789"[..]), ("a/large", &large), ("a/d/empty", &[])] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::write(folder.path().join("a/.hidden"), b"x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("a/d"), folder.path().join("linked")).unwrap();
        let (tree, plain) = (LocalTree::new(), LocalFileSystem::new());
        let sorted = async |store: &dyn ObjectStore| {
            let mut listed: Vec<ObjectMeta> = store.list(Some(&root)).try_collect().await.unwrap();
            listed.retain(|meta| !meta.location.as_ref().contains(".hidden"));
            listed.sort_by(|left, right| left.location.cmp(&right.location));
            listed
        };
        let listed = sorted(&tree).await;
        assert_eq!(listed, sorted(&plain).await);
        assert_eq!(listed.len(), 4);
        let nowhere: Vec<ObjectMeta> = tree.list(Some(&Path::from("nowhere/at/all"))).try_collect().await.unwrap();
        assert_eq!(nowhere, []);
        for meta in listed {
            assert_eq!(tree.head(&meta.location).await.unwrap(), meta);
            let ranges = [None, Some(GetRange::Suffix(4)), Some(GetRange::Offset(3)), Some(GetRange::Bounded(2..5))];
            for range in ranges {
                for tag in [None, meta.e_tag.clone(), Some("other".to_owned())] {
                    let get = async |store: &dyn ObjectStore| {
                        let options =
                            GetOptions { range: range.clone(), if_match: tag.clone(), ..GetOptions::default() };
                        let found = store.get_opts(&meta.location, options).await.ok()?;
                        let (meta, range) = (found.meta.clone(), found.range.clone());
                        Some((meta, range, found.bytes().await.unwrap()))
                    };
                    assert_eq!(get(&tree).await, get(&plain).await, "{} {range:?} {tag:?}", meta.location);
                }
            }
        }
        let missing = tree.get(&root.clone().join("missing")).await.unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }));
        assert!(tree.get(&root.join("a")).await.is_err(), "a folder is no object");
    }
}
