//! Files of the features store: as sources of whole days, or as copies of recent chunks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use neartime_engine::FeatureTable;
use neartime_model::{FeatureName, Instant};

use super::Refresh;
use super::days::Pass;
use crate::error::AirError;
use crate::input::{Columns, FeatureReader, FeatureSource, Found, Known, Listed};
use crate::merge::{Gather, Merge, Source};
use crate::state::Recent;
use crate::udb::{Draft, Keeping, Records, UsersFile, UsersSource, UsersWriter};

/// Copies of the chunks after a snapshot.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Made for an earlier report, still right.
    pub(super) kept: BTreeMap<String, Recent>,
    /// Made now.
    pub(super) made: BTreeMap<String, Recent>,
}

impl Copies {
    /// All of them.
    pub(super) fn all(self) -> BTreeMap<String, Recent> {
        self.kept.into_iter().chain(self.made).collect()
    }
}

impl Refresh<'_> {
    /// Files of whole days as sources. Very many are first brought together in groups, below the folder of snapshots.
    pub(super) fn sources(&self, files: &[&Listed], found: &Found) -> Result<Vec<Box<dyn Source>>, AirError> {
        let readers = self.readers(found, files.len());
        let mut groups = groups(files, self.effort.memory_bytes).peekable();
        let Some(first) = groups.next() else { return Ok(Vec::new()) };
        if groups.peek().is_none() {
            return Ok(first.iter().map(|file| source(&readers, file)).collect());
        }
        let mut combined = vec![self.combine(first.iter().map(|file| source(&readers, file)).collect())?];
        for group in groups {
            combined.push(self.combine(group.iter().map(|file| source(&readers, file)).collect())?);
        }
        while combined.len() > SOURCES {
            let mut rest = combined.into_iter();
            combined = Vec::new();
            while rest.len() > 0 {
                combined.push(self.combine(rest.by_ref().take(SOURCES).collect())?);
            }
        }
        Ok(combined)
    }

    /// Makes one source of many, in a file that goes with it.
    fn combine(&self, sources: Vec<Box<dyn Source>>) -> Result<Box<dyn Source>, AirError> {
        let draft = Draft::begin(&self.folder.days(), "combined", self.as_of, self.lanes.classes().len())?;
        let draft = Arc::new(draft.in_few_parts());
        let settled_sources = sources.len();
        let keeping = Some(Keeping::All(Arc::clone(&draft)));
        self.pass(Pass { sources, settled_sources, keeping, counting: false })?;
        Ok(Box::new(UsersSource::new(draft.unnamed_parts()?)))
    }

    fn readers(&self, found: &Found, files: usize) -> BTreeMap<FeatureName, FeatureReader> {
        let steps = Arc::new(self.progress.steps(files));
        let reader = |table: Arc<FeatureTable>| FeatureReader {
            store: self.store.clone(),
            columns: Arc::new(Columns::new(&table, &self.lanes)),
            dictionary: Arc::clone(&self.dictionary),
            found: found.clone(),
            steps: Arc::clone(&steps),
        };
        self.tables().into_iter().map(|table| (table.name.clone(), reader(table))).collect()
    }

    /// Copies the files of chunks after `end` that were not copied before. Takes those that were, and are still right,
    /// out of `before`.
    pub(super) fn copies(
        &self,
        listed: &[Listed],
        end: Option<Instant>,
        before: &mut BTreeMap<String, Recent>,
    ) -> Result<Copies, AirError> {
        let (mut kept, mut wanted) = (BTreeMap::new(), Vec::new());
        for file in listed.iter().filter(|file| end.is_none_or(|end| file.chunk.end() > end)) {
            match before.get(&file.path) {
                Some(recent) if self.is_same(file, &recent.known)? => {
                    // It may have been replaced by the same: the next report need not look into it again.
                    let known = Known { id: file.id, ..recent.known };
                    kept.extend(
                        before.remove_entry(&file.path).map(|(path, recent)| (path, Recent { known, ..recent })),
                    );
                }
                _ => wanted.push(file),
            }
        }
        let wanted: Vec<(usize, &Listed)> = wanted.into_iter().enumerate().collect();
        let found = Found::default();
        let readers = self.readers(&found, wanted.len());
        let copies = in_parallel(&wanted, self.effort.threads, |files| {
            let copy = |&(number, file): &(usize, &Listed)| {
                let copy = format!("{}-{number}.users", self.fence);
                self.copy(source(&readers, file), file, &copy).map(|()| (file.path.clone(), copy))
            };
            files.map(copy).collect::<Result<Vec<_>, _>>()
        })?;
        let mut found = found.take();
        let made = copies.into_iter().flatten().map(|(path, copy)| {
            let known = found.remove(&path).expect("it was opened to be copied");
            (path, Recent { known, copy })
        });
        Ok(Copies { kept, made: made.collect() })
    }

    fn copy(&self, source: Box<dyn Source>, file: &Listed, copy: &str) -> Result<(), AirError> {
        let base_ms = file.chunk.end().as_millis();
        let mut writer = UsersWriter::create(&self.folder.recent().join(copy), base_ms, 0)?;
        let (mut gather, mut records) = (Gather::default(), Records::new(base_ms));
        Merge::new(vec![source]).work(|window| {
            records.clear();
            gather.each(&window, 1, |user| {
                records.push(user.id, user.entries);
                Ok::<(), AirError>(())
            })?;
            writer.append(&records)
        })?;
        self.syncs.push(writer.finish()?);
        Ok(())
    }

    /// Opens copies.
    pub(super) fn open<'r>(&self, recent: impl Iterator<Item = &'r Recent>) -> Result<Vec<Arc<UsersFile>>, AirError> {
        let folder = self.folder.recent();
        recent.map(|recent| UsersFile::open(&folder.join(&recent.copy)).map(Arc::new)).collect()
    }
}

/// Files are merged in groups of so many at most, each of which is opened.
const SOURCES: usize = 256;
/// Below this, a group would be no progress.
const LEAST_SOURCES: usize = 4;
/// What a file that is being read takes at most: a page of each column, and rows that are held ready.
const PAGES_BYTES: u64 = 8 << 20;
const ROWS_BYTES: u64 = 1 << 20;
/// How many times its size a file takes when it is inflated.
const INFLATED: u64 = 4;

/// Cuts a list of files into groups that can be read at once in so much memory.
fn groups<'f>(mut files: &'f [&'f Listed], memory_bytes: usize) -> impl Iterator<Item = &'f [&'f Listed]> {
    std::iter::from_fn(move || {
        let mut left = memory_bytes as u64;
        let fits = |file: &&&Listed| {
            let bytes = (file.id.size_bytes * INFLATED).min(PAGES_BYTES) + ROWS_BYTES;
            let fits = left >= bytes;
            left = left.saturating_sub(bytes);
            fits
        };
        let many = files.iter().take(SOURCES).take_while(fits).count().max(LEAST_SOURCES).min(files.len());
        let (group, rest) = files.split_at(many);
        files = rest;
        (many > 0).then_some(group)
    })
}

fn source(readers: &BTreeMap<FeatureName, FeatureReader>, file: &Listed) -> Box<dyn Source> {
    let reader = readers.get(&file.feature).expect("only files of these features are listed");
    Box::new(FeatureSource::new(reader.clone(), file))
}

/// Works through `items` on several threads: each takes the next item when it is done with its last.
pub(super) fn in_parallel<'i, T: Sync, R: Send>(
    items: &'i [T],
    threads: usize,
    work: impl Fn(&mut dyn Iterator<Item = &'i T>) -> Result<R, AirError> + Sync,
) -> Result<Vec<R>, AirError> {
    let next = AtomicUsize::new(0);
    let one_thread = || {
        let mut mine = std::iter::from_fn(|| items.get(next.fetch_add(1, Ordering::Relaxed)));
        work(&mut mine)
    };
    let threads = threads.clamp(1, items.len().max(1));
    if threads == 1 {
        return one_thread().map(|result| vec![result]);
    }
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
