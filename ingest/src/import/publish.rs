//! Putting complete files where the source finds them, each under a name that was free.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::bufread::GzDecoder;
use futures::StreamExt;
use neartime_model::FileKey;
use object_store::path::Path as ObjectPath;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;

use super::ImportError;
use super::cut::Staged;
use super::name::{ContentId, Names};
use crate::location::Location;
use crate::source::Source;

/// Files up to this size go to a bucket in one request, from memory.
const ONE_REQUEST_BYTES: u64 = 64 << 20;
const PART_BYTES: u64 = 16 << 20;

/// Puts files at a source's location.
pub(super) struct Publisher<'a> {
    location: &'a Location,
    runtime: Handle,
    staging: Staging,
    one_request_bytes: u64,
}

/// A hidden directory for files that are not complete; it goes when the import ends. A lock in it, which ends with the
/// process, tells the next import that somebody is still filling it.
struct Staging {
    folder: PathBuf,
    _locked: File,
}

const STAGING_PREFIX: &str = ".import-";
const STAGING_LOCK: &str = "neartime.lock";
/// A younger one may be about to be locked.
const STAGING_AGE: Duration = Duration::from_secs(60);

impl Staging {
    fn new(parent: &Path) -> Result<Self, ImportError> {
        static IMPORTS: AtomicU64 = AtomicU64::new(0);
        let number = IMPORTS.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("{STAGING_PREFIX}{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(ImportError::local("create the directory", &folder))?;
        let lock = folder.join(STAGING_LOCK);
        let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
        Ok(Self { folder, _locked: locked.map_err(ImportError::local("lock", &lock))? })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        remove_staging(&self.folder);
    }
}

fn remove_staging(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(directory = %folder.display(), %error, "could not remove the files of an import under way");
    }
}

/// Removes what imports left whose processes are gone.
fn sweep(parent: &Path) {
    let is_staging = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX);
    let age = |lock: &File| lock.metadata()?.modified()?.elapsed().map_err(std::io::Error::other);
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten().filter(is_staging) {
        // Whatever has no such lock is not ours.
        let Ok(lock) = File::open(entry.path().join(STAGING_LOCK)) else { continue };
        if age(&lock).is_ok_and(|age| age > STAGING_AGE) && lock.try_lock().is_ok() {
            remove_staging(&entry.path());
        }
    }
}

impl<'a> Publisher<'a> {
    pub(super) fn new(source: &'a Source, runtime: Handle) -> Result<Self, ImportError> {
        // In the location itself, where a link is enough to publish; beside a bucket there is no such place.
        let parent = source.location.as_directory().map_or_else(std::env::temp_dir, Path::to_owned);
        sweep(&parent);
        let staging = Staging::new(&parent)?;
        Ok(Self { location: &source.location, runtime, staging, one_request_bytes: ONE_REQUEST_BYTES })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Where files are made.
    pub(super) fn staging(&self) -> &Path {
        &self.staging.folder
    }

    /// Gives a file its name; false if a file of the same content stands there already.
    pub(super) fn publish(&self, names: &Names<'_>, file: &Staged, content: ContentId) -> Result<bool, ImportError> {
        let mark = content.to_string();
        for key in names.candidates(file.chunk, content) {
            let key = FileKey::new(key?);
            loop {
                match self.mark_of(&key)? {
                    Some(other) if other == mark.as_bytes() => return self.discard(&file.path).map(|()| false),
                    Some(_) => break,
                    None if self.create(&file.path, &key)? => return Ok(true),
                    // Somebody else was faster: let us see who.
                    None => {}
                }
            }
        }
        Err(ImportError::NoNameLeft { chunk: file.chunk, names: names.count(file.chunk) })
    }

    /// The comment in the gzip header of the object under `key`, empty if there is none; `None` without an object.
    fn mark_of(&self, key: &FileKey) -> Result<Option<Vec<u8>>, ImportError> {
        let head = self.runtime.block_on(async {
            match self.location.store().get(&self.location.object_path(key)).await {
                Ok(object) => object.into_stream().next().await.transpose().map(Option::unwrap_or_default).map(Some),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let head = head.map_err(|cause| self.unavailable(cause))?;
        Ok(head.map(|head| {
            let gz = GzDecoder::new(&head[..]);
            gz.header().and_then(|header| header.comment()).unwrap_or_default().to_vec()
        }))
    }

    /// Makes the object; false if there is one by now.
    fn create(&self, from: &Path, key: &FileKey) -> Result<bool, ImportError> {
        match self.location.as_directory() {
            Some(directory) => link(from, &directory.join(key.as_str())),
            None => self.upload(from, key),
        }
    }

    fn upload(&self, from: &Path, key: &FileKey) -> Result<bool, ImportError> {
        let path = self.location.object_path(key);
        let size = std::fs::metadata(from).map_err(ImportError::local("look at", from))?.len();
        let created = self.runtime.block_on(async {
            if size > self.one_request_bytes {
                return self.upload_in_parts(from, &path).await;
            }
            let bytes = tokio::fs::read(from).await.map_err(ImportError::local("read", from))?;
            match self.location.store().put_opts(&path, bytes.into(), PutMode::Create.into()).await {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists { .. }) => Ok(false),
                Err(cause) => Err(self.unavailable(cause)),
            }
        })?;
        if created { self.discard(from).map(|()| true) } else { Ok(false) }
    }

    /// The store is told by an extension that it may only create: the interface has no word for it. One that does not
    /// understand it writes over what came meanwhile.
    async fn upload_in_parts(&self, from: &Path, to: &ObjectPath) -> Result<bool, ImportError> {
        let mut options = PutMultipartOptions::default();
        options.extensions.insert(PutMode::Create);
        let upload = self.location.store().put_multipart_opts(to, options).await;
        let mut upload = upload.map_err(|cause| self.unavailable(cause))?;
        let Err(cause) = send_parts(from, &mut *upload).await else { return Ok(true) };
        if let Err(error) = upload.abort().await {
            tracing::warn!(%to, %error, "could not remove the parts of an upload that failed");
        }
        match cause {
            Error::AlreadyExists { .. } => Ok(false),
            cause => Err(self.unavailable(cause)),
        }
    }

    fn discard(&self, file: &Path) -> Result<(), ImportError> {
        std::fs::remove_file(file).map_err(ImportError::local("remove", file))
    }

    fn unavailable(&self, cause: Error) -> ImportError {
        ImportError::Unavailable { location: self.location.to_string(), cause }
    }
}

async fn send_parts(from: &Path, upload: &mut dyn MultipartUpload) -> object_store::Result<()> {
    let local = |error| Error::Generic { store: "local file", source: Box::new(error) };
    let mut file = tokio::fs::File::open(from).await.map_err(local)?;
    loop {
        let mut part = Vec::new();
        (&mut file).take(PART_BYTES).read_to_end(&mut part).await.map_err(local)?;
        if part.is_empty() {
            return upload.complete().await.map(drop);
        }
        upload.put_part(part.into()).await?;
    }
}

/// Moves a file to a name that must be free, durably; false if it is not.
fn link(from: &Path, to: &Path) -> Result<bool, ImportError> {
    let folder = to.parent().expect("a key lies in a folder");
    make_folder(folder)?;
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from).map_err(ImportError::local("remove", from))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        // A file system without links: the test and the move are two steps there.
        Err(_) if to.exists() => return Ok(false),
        Err(_) => std::fs::rename(from, to).map_err(ImportError::local("write", to))?,
    }
    sync_folder(folder).map(|()| true)
}

/// Makes a folder and what is missing above it, each durably before the next.
fn make_folder(folder: &Path) -> Result<(), ImportError> {
    let Some(parent) = folder.parent().filter(|_| !folder.is_dir()) else { return Ok(()) };
    make_folder(parent)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(ImportError::local("create the directory", folder)(error))
        }
        _ => sync_folder(parent),
    }
}

fn sync_folder(folder: &Path) -> Result<(), ImportError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ImportError::local("sync", folder))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use neartime_model::SourceName;
    use object_store::memory::InMemory;

    use super::*;
    use crate::layout::Layout;
    use crate::source::{Column, ColumnKind, Format, SourceSpec};
    use crate::testing::memory;

    #[test]
    fn what_a_dead_import_left_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let alive = Staging::new(parent.path()).unwrap();
        let dead = parent.path().join(".import-1-0");
        let (young, strange) = (parent.path().join(".import-1-1"), parent.path().join(".import-of-others"));
        [&dead, &young, &strange].into_iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        let lock = |folder: &Path| File::create(folder.join(STAGING_LOCK)).unwrap();
        lock(&young);
        [&dead, &alive.folder].into_iter().for_each(|folder| lock(folder).set_modified(std::time::UNIX_EPOCH).unwrap());
        sweep(parent.path());
        assert_eq!([&dead, &young, &strange, &alive.folder].map(|folder| folder.exists()), [false, true, true, true]);
        let folder = alive.folder.clone();
        drop(alive);
        assert!(!folder.exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn large_files_go_in_parts_and_small_ones_only_create() {
        let store = Arc::new(InMemory::new());
        let columns = vec![Column::new("id", ColumnKind::String)];
        let layout = Layout::parse("%Y%m%d%H%M*.gz").unwrap();
        let name = SourceName::new("raw").unwrap();
        let source =
            Source::new(SourceSpec::new(name, memory(Arc::clone(&store)), layout, Format::Json, columns)).unwrap();
        let handle = Handle::current();
        let uploaded = tokio::task::spawn_blocking(move || {
            let publisher = Publisher { one_request_bytes: 4, ..Publisher::new(&source, handle).unwrap() };
            let upload = |text: &str, key: &str| {
                let file = publisher.staging().join("file");
                std::fs::write(&file, text).unwrap();
                publisher.upload(&file, &FileKey::new(key)).unwrap()
            };
            [upload("a large one", "large.gz"), upload("one", "small.gz"), upload("two", "small.gz")]
        });
        assert_eq!(uploaded.await.unwrap(), [true, true, false]);
        for (key, text) in [("large.gz", "a large one"), ("small.gz", "one")] {
            assert_eq!(store.get(&ObjectPath::from(key)).await.unwrap().bytes().await.unwrap(), text);
        }
    }
}
