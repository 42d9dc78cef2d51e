//! Listing a directory: blocking threads that send what they read in pages.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::{Path as FsPath, PathBuf};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::{Error, ObjectMeta};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::list::{Level, Listed, Lister, PAGE_FILES, join};
use crate::layout::is_hidden;
use crate::location::{Location, away};

pub(super) struct DirectoryLister {
    location: Location,
    root: PathBuf,
}

impl DirectoryLister {
    pub(super) fn new(location: &Location, root: &FsPath) -> Self {
        Self { location: location.clone(), root: root.to_owned() }
    }

    fn folder(&self, key: &str) -> PathBuf {
        if key.is_empty() { self.root.clone() } else { self.root.join(key) }
    }
}

#[async_trait]
impl Lister for DirectoryLister {
    fn lists_deep(&self) -> bool {
        false
    }

    async fn level(&self, folder: &str) -> object_store::Result<Level> {
        let (directory, folder) = (self.folder(folder), folder.to_owned());
        spawn_blocking(move || read_level(&directory, &folder)).await?
    }

    fn files<'a>(
        &'a self,
        folder: &str,
        after: Option<&str>,
        deep: bool,
    ) -> BoxStream<'a, object_store::Result<Vec<Listed>>> {
        let (sender, pages) = mpsc::channel(2);
        let reading = Reading {
            location: self.location.clone(),
            after: after.map(str::to_owned),
            deep,
            opener: LocalFileSystem::new(),
            pages: sender,
        };
        let (directory, folder) = (self.folder(folder), folder.to_owned());
        spawn_blocking(move || {
            if let Err(error) = reading.read(directory, folder) {
                // Nobody there to hear it: nobody wants the files any more.
                let _ = reading.pages.blocking_send(Err(error));
            }
        });
        Box::pin(futures::stream::unfold(pages, |mut pages| async move { Some((pages.recv().await?, pages)) }))
    }
}

fn read_level(directory: &FsPath, folder: &str) -> object_store::Result<Level> {
    let mut level = Level::default();
    for entry in entries(directory) {
        let entry = entry?;
        let name = entry.file_name();
        let key = join(folder, &name.to_string_lossy());
        match kind(directory, &entry)? {
            // A folder whose name is no UTF-8 has no key; what is in it is as good as not there.
            Kind::Folder if name.to_str().is_some() => level.folders.push(key),
            Kind::File => level.files.push(key),
            Kind::Folder | Kind::Other => {}
        }
    }
    Ok(level)
}

/// One reading of a folder's files.
struct Reading {
    location: Location,
    after: Option<String>,
    deep: bool,
    /// Tells which names can be opened again.
    opener: LocalFileSystem,
    pages: mpsc::Sender<object_store::Result<Vec<Listed>>>,
}

impl Reading {
    fn read(&self, directory: PathBuf, folder: String) -> object_store::Result<()> {
        let mut waiting = vec![(directory, folder)];
        let mut found = Contents::default();
        while let Some((directory, folder)) = waiting.pop() {
            for entry in entries(&directory) {
                self.entry(&directory, &folder, &entry?, &mut found)?;
                if found.files.len() >= PAGE_FILES && self.pages.blocking_send(Ok(found.take_files())).is_err() {
                    return Ok(());
                }
            }
            waiting.append(&mut found.folders);
        }
        let _ = self.pages.blocking_send(Ok(found.files));
        Ok(())
    }

    fn entry(
        &self,
        directory: &FsPath,
        folder: &str,
        entry: &DirEntry,
        found: &mut Contents,
    ) -> object_store::Result<()> {
        let name = entry.file_name();
        let Some(text) = name.to_str() else {
            found.files.push(Listed::Unusable { key: join(folder, &name.to_string_lossy()) });
            return Ok(());
        };
        // Before asking for anything else of it: most of a flat folder is old.
        if is_hidden(text) || self.after.as_deref().is_some_and(|after| text <= after) {
            return Ok(());
        }
        let key = join(folder, text);
        match kind(directory, entry)? {
            // Links to folders are not followed here: they may lead in a circle.
            Kind::Folder if self.deep && !entry.file_type().is_ok_and(|kind| kind.is_symlink()) => {
                found.folders.push((entry.path(), key));
            }
            Kind::File => found.files.extend(self.listed(directory, entry, key)?),
            Kind::Folder | Kind::Other => {}
        }
        Ok(())
    }

    /// The file of an entry; `None` if it is not there any more.
    fn listed(&self, directory: &FsPath, entry: &DirEntry, key: String) -> object_store::Result<Option<Listed>> {
        let path = self.location.path_below(&key);
        // A name with a control character, or that the store keeps for its own temporary files.
        let opens =
            self.location.key_of(&path).as_deref() == Some(&*key) && self.opener.path_to_filesystem(&path).is_ok();
        if !opens {
            return Ok(Some(Listed::Unusable { key }));
        }
        let Some(found) = metadata(directory, entry)? else { return Ok(None) };
        let last_modified = found.modified().map_err(away)?.into();
        let meta = ObjectMeta { location: path, last_modified, size: found.len(), e_tag: None, version: None };
        Ok(Some(Listed::File { key, size: meta.size, version: self.location.version_of(&meta) }))
    }
}

/// What a reading found and has not handed on.
#[derive(Default)]
struct Contents {
    files: Vec<Listed>,
    folders: Vec<(PathBuf, String)>,
}

impl Contents {
    fn take_files(&mut self) -> Vec<Listed> {
        std::mem::take(&mut self.files)
    }
}

enum Kind {
    File,
    Folder,
    /// Sockets and pipes, which would be waited on for ever, and links that lead nowhere.
    Other,
}

/// What an entry is, links followed. Asks the file system only about links.
fn kind(directory: &FsPath, entry: &DirEntry) -> object_store::Result<Kind> {
    let mut kind = entry.file_type().map_err(|error| failed(directory, error))?;
    if kind.is_symlink() {
        kind = match std::fs::metadata(entry.path()) {
            Ok(target) => target.file_type(),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(failed(directory, error)),
            // It leads nowhere, or to itself.
            Err(_) => return Ok(Kind::Other),
        };
    }
    Ok(match () {
        () if kind.is_file() => Kind::File,
        () if kind.is_dir() => Kind::Folder,
        () => Kind::Other,
    })
}

/// What a folder holds; nothing if it is not there, or no folder, by now.
fn entries(directory: &FsPath) -> impl Iterator<Item = object_store::Result<DirEntry>> {
    let (entries, refused) = match std::fs::read_dir(directory) {
        Ok(entries) => (Some(entries), None),
        Err(error) if is_missing(&error) => (None, None),
        Err(error) => (None, Some(Err(error))),
    };
    entries.into_iter().flatten().chain(refused).map(|entry| entry.map_err(|error| failed(directory, error)))
}

/// What the file system knows of an entry, links followed; `None` for what is not there any more, and for links that
/// lead nowhere.
fn metadata(directory: &FsPath, entry: &DirEntry) -> object_store::Result<Option<Metadata>> {
    match std::fs::metadata(entry.path()) {
        Err(error) if is_missing(&error) => Ok(None),
        found => found.map(Some).map_err(|error| failed(directory, error)),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn failed(directory: &FsPath, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Error::PermissionDenied { path: directory.display().to_string(), source: Box::new(error) };
    }
    away(error)
}
