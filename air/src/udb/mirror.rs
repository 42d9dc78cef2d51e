//! The user database in a bucket: fetched into a worker's folder before a report, put back after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use neartime_model::Fence;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tokio::runtime::Handle;

use super::folder::Folder;
use crate::durable::write_durably;
use crate::error::AirError;

const TITLE: &str = "neartime user database, shared, form 1";
const CURRENT: &str = "current";

/// So many of the latest snapshots are shared. For a worker that fetched them, a late file of a day before them makes
/// the user database from nothing.
const SNAPSHOTS_SHARED: usize = 3;

/// Files on their way at a time.
const IN_FLIGHT: usize = 8;

/// How often the list is read again when what it names is gone: another worker has just replaced it.
const ATTEMPTS: usize = 3;

/// Objects that no list names are removed once they are so much older than the list: nobody is putting them any more.
const ORPHAN_AGE_SECS: i64 = 24 * 60 * 60;

/// The bucket's side of a locked folder.
pub(crate) struct Mirror<'a> {
    objects: &'a Arc<dyn ObjectStore>,
    prefix: Path,
    folder: &'a Folder,
    runtime: Handle,
}

/// What `current` said when it was read last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// `None` if there is no `current`.
    version: Option<UpdateVersion>,
    fence: i64,
    files: BTreeMap<String, Stored>,
}

/// A file in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    /// Its key below the prefix.
    object: String,
    size_bytes: u64,
}

impl<'a> Mirror<'a> {
    pub(crate) fn new(
        (objects, prefix): &'a (Arc<dyn ObjectStore>, Path),
        folder: &'a Folder,
        runtime: Handle,
    ) -> Self {
        let prefix = prefix.clone().join(folder.fingerprint());
        Self { objects, prefix, folder, runtime }
    }

    /// Makes the folder what the bucket holds, unless it comes from there already.
    pub(crate) fn fetch(&self) -> Result<Listing, AirError> {
        let mut attempt = 1;
        loop {
            match self.runtime.block_on(self.fetch_once()) {
                Err(AirError::Bucket { source: object_store::Error::NotFound { .. }, .. }) if attempt < ATTEMPTS => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn fetch_once(&self) -> Result<Listing, AirError> {
        let listing = self.current().await?;
        let noted = std::fs::read_to_string(self.folder.shared()).unwrap_or_default();
        if !noted.starts_with(&self.place()) {
            // Made from another features store perhaps, whose files may have the same names and tags.
            self.folder.clear()?;
            write_durably(&self.folder.shared(), self.place().as_bytes())?;
        }
        let Some(version) = &listing.version else { return Ok(listing) };
        if noted == self.note(version) {
            return Ok(listing);
        }
        tracing::info!(fence = listing.fence, "user database is fetched from the bucket");
        let wanted: BTreeSet<PathBuf> = listing.files.keys().map(|path| self.folder.here().join(path)).collect();
        self.folder.keep_only(&wanted)?;
        let fetches = listing.files.iter().map(|(path, stored)| self.fetch_file(path, stored));
        futures::stream::iter(fetches).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        write_durably(&self.folder.shared(), self.note(version).as_bytes())?;
        Ok(listing)
    }

    async fn fetch_file(&self, path: &str, stored: &Stored) -> Result<(), AirError> {
        let target = self.folder.here().join(path);
        let is_fixed = stored.object == path;
        if is_fixed && std::fs::metadata(&target).is_ok_and(|found| found.len() == stored.size_bytes) {
            return Ok(());
        }
        let key = self.key(&stored.object);
        let bytes = async { self.objects.get(&key).await?.bytes().await };
        let bytes = bytes.await.map_err(AirError::bucket("read", &key))?;
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(AirError::file("create", parent))?;
        }
        write_durably(&target, &bytes)
    }

    /// Puts what the folder holds into the bucket, if `before` is still current and not of a newer fence.
    pub(crate) fn put(&self, before: &Listing, fence: Fence) -> Result<(), AirError> {
        self.runtime.block_on(self.put_all(before, fence))
    }

    async fn put_all(&self, before: &Listing, fence: Fence) -> Result<(), AirError> {
        if before.fence > fence.0 {
            tracing::info!(fence = before.fence, "user database of a newer report stays in the bucket");
            return Ok(());
        }
        let files = self.files(before, fence)?;
        let puts = files.iter().filter(|(path, stored)| before.files.get(*path) != Some(*stored));
        let puts = puts.map(|(path, stored)| self.put_file(path, stored));
        futures::stream::iter(puts).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        let listing = Listing { version: before.version.clone(), fence: fence.0, files };
        let Some(version) = self.replace_current(&listing).await? else {
            tracing::info!("user database of another report was put into the bucket meanwhile");
            return Ok(());
        };
        write_durably(&self.folder.shared(), self.note(&version).as_bytes())?;
        self.remove(before.files.values().filter(|stored| !listing.names(&stored.object))).await;
        if before.latest_snapshot() != listing.latest_snapshot() {
            self.sweep(&listing).await?;
        }
        Ok(())
    }

    /// The folder's files as they are to be listed.
    fn files(&self, before: &Listing, fence: Fence) -> Result<BTreeMap<String, Stored>, AirError> {
        let mut files = BTreeMap::new();
        for (path, size_bytes) in self.folder.files(SNAPSHOTS_SHARED)? {
            let grows = !path.contains('/');
            // The dictionary only grows: of the same size, it is the same.
            let same = before.files.get(&path).filter(|stored| path != "state" && stored.size_bytes == size_bytes);
            let object = match same {
                Some(stored) => stored.object.clone(),
                None if grows => format!("{path}-{fence}"),
                None => path.clone(),
            };
            files.insert(path, Stored { object, size_bytes });
        }
        Ok(files)
    }

    async fn put_file(&self, path: &str, stored: &Stored) -> Result<(), AirError> {
        let source = self.folder.here().join(path);
        let bytes = std::fs::read(&source).map_err(AirError::file("read", &source))?;
        let key = self.key(&stored.object);
        self.objects.put(&key, bytes.into()).await.map(drop).map_err(AirError::bucket("write", &key))
    }

    async fn current(&self) -> Result<Listing, AirError> {
        let key = self.key(CURRENT);
        let found = match self.objects.get(&key).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Listing::default()),
            Err(error) => return Err(AirError::bucket("read", &key)(error)),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(AirError::bucket("read", &key))?;
        let read = std::str::from_utf8(&bytes).ok().and_then(Listing::read);
        if read.is_none() {
            tracing::warn!(key = %key, "list of the user database makes no sense: it is made again");
        }
        let (fence, files) = read.unwrap_or_default();
        Ok(Listing { version: Some(version), fence, files })
    }

    /// `None` if somebody else was quicker.
    async fn replace_current(&self, listing: &Listing) -> Result<Option<UpdateVersion>, AirError> {
        let key = self.key(CURRENT);
        let mode = listing.version.clone().map_or(PutMode::Create, PutMode::Update);
        let put = self.objects.put_opts(&key, listing.write().into(), PutOptions::from(mode)).await;
        match put {
            Ok(put) => Ok(Some(UpdateVersion { e_tag: put.e_tag, version: put.version })),
            Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(AirError::bucket("write", &key)(error)),
        }
    }

    /// Removes objects; what cannot be removed now is swept later.
    async fn remove(&self, stored: impl Iterator<Item = &Stored>) {
        for stored in stored {
            let key = self.key(&stored.object);
            if let Err(error) = self.objects.delete(&key).await {
                tracing::warn!(key = %key, error = &error as &dyn std::error::Error, "old object remains");
            }
        }
    }

    /// Removes what runs left that died or lost the race.
    async fn sweep(&self, listing: &Listing) -> Result<(), AirError> {
        let error = || AirError::bucket("list", &self.prefix);
        let now = self.objects.head(&self.key(CURRENT)).await.map_err(error())?.last_modified;
        let all: Vec<_> = self.objects.list(Some(&self.prefix)).try_collect().await.map_err(error())?;
        let below = |key: &Path| key.as_ref().strip_prefix(self.prefix.as_ref())?.strip_prefix('/').map(str::to_owned);
        let orphans = all.iter().filter(|object| (now - object.last_modified).num_seconds() > ORPHAN_AGE_SECS);
        let orphans = orphans.filter_map(|object| below(&object.location));
        let orphans = orphans.filter(|object| object != CURRENT && !listing.names(object));
        let orphans: Vec<Stored> = orphans.map(|object| Stored { object, size_bytes: 0 }).collect();
        self.remove(orphans.iter()).await;
        Ok(())
    }

    /// Which bucket this is, and where in it.
    fn place(&self) -> String {
        format!("{}\n{}\n", self.objects, self.prefix)
    }

    /// What a folder notes of the list that it is a copy of.
    fn note(&self, version: &UpdateVersion) -> String {
        let [tag, version] = [&version.e_tag, &version.version].map(|text| text.as_deref().unwrap_or_default());
        format!("{}{tag}\n{version}\n", self.place())
    }

    fn key(&self, object: &str) -> Path {
        Path::parse(format!("{}/{object}", self.prefix)).expect("our own names make valid keys")
    }
}

impl Listing {
    /// Forgets the files: what the folder holds now was made from nothing, under the same names perhaps.
    pub(crate) fn without_files(self) -> Self {
        Self { files: BTreeMap::new(), ..self }
    }

    /// A path in the latest snapshot, which is another one once a day.
    fn latest_snapshot(&self) -> Option<&String> {
        self.files.keys().rfind(|path| path.starts_with("days/"))
    }

    fn names(&self, object: &str) -> bool {
        self.files.values().any(|stored| stored.object == object)
    }

    fn write(&self) -> String {
        let mut text = format!("{TITLE}\nfence\t{}\n", self.fence);
        for (path, Stored { object, size_bytes }) in &self.files {
            writeln!(text, "{path}\t{object}\t{size_bytes}").expect("writing to a String cannot fail");
        }
        text
    }

    fn read(text: &str) -> Option<(i64, BTreeMap<String, Stored>)> {
        let mut lines = text.lines();
        let fence = lines.next().filter(|line| *line == TITLE).and_then(|_| lines.next())?;
        let fence = fence.strip_prefix("fence\t")?.parse().ok()?;
        let file = |line: &str| {
            let mut fields = line.split('\t');
            let (path, object) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            let size_bytes = fields.next()?.parse().ok()?;
            // What is fetched must stay in the folder.
            let safe = path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
            (fields.next().is_none() && safe).then_some((path, Stored { object, size_bytes }))
        };
        Some((fence, lines.map(file).collect::<Option<_>>()?))
    }
}
