//! Reads files of the features store on several threads: into a spool of whole days, or into copies of recent chunks.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use neartime_engine::FeatureTable;
use neartime_model::{FeatureName, Instant};

use super::Refresh;
use crate::error::AirError;
use crate::input::{IntervalReader, Known, Listed, Spool, SpoolWriter};
use crate::progress::Stage;
use crate::state::Recent;
use crate::udb::{Entry, Gather, Inputs, UsersFile, UsersWriter};

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
    /// Reads whole days into a spool.
    pub(super) fn spool(&self, files: &[&Listed], buckets: usize, end: Instant) -> Result<(Spool, Inputs), AirError> {
        let (threads, days) = (self.effort.threads, self.folder.days());
        let budget = self.effort.memory_bytes / threads.max(1);
        let steps = self.progress.steps(Stage::Reading, files.len());
        let parts = in_parallel(files, threads, |files| {
            let mut part = SpoolWriter::new(buckets, end.as_millis(), &days, budget);
            let (mut readers, mut inputs) = (Readers::new(self), Inputs::new());
            for file in files {
                let known = readers.read(file, |id, entries| part.push(id, entries))?;
                inputs.insert(file.path.clone(), known);
                steps.step();
            }
            Ok((part, inputs))
        })?;
        let (parts, inputs): (Vec<SpoolWriter>, Vec<Inputs>) = parts.into_iter().unzip();
        Ok((Spool::new(parts), inputs.into_iter().flatten().collect()))
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
                    kept.extend(before.remove_entry(&file.path));
                }
                _ => wanted.push(file),
            }
        }
        let wanted: Vec<(usize, &Listed)> = wanted.into_iter().enumerate().collect();
        let steps = self.progress.steps(Stage::Reading, wanted.len());
        let made = in_parallel(&wanted, self.effort.threads, |files| {
            let (mut readers, mut made) = (Readers::new(self), Vec::new());
            for (number, file) in files {
                let copy = format!("{}-{number}.users", self.fence);
                made.push((file.path.clone(), self.copy(&mut readers, file, copy)?));
                steps.step();
            }
            Ok(made)
        })?;
        Ok(Copies { kept, made: made.into_iter().flatten().collect() })
    }

    fn copy(&self, readers: &mut Readers<'_>, file: &Listed, copy: String) -> Result<Recent, AirError> {
        let mut users = Gather::<1>::default();
        let known = readers.read(file, |id, entries| {
            users.add(id, entries, 0);
            Ok(())
        })?;
        let path = self.folder.recent().join(&copy);
        let mut writer = UsersWriter::create(&path, file.chunk.end().as_millis(), 0)?;
        users.drain(|user| writer.push(user.hash, user.id, user.entries[0]))?;
        writer.finish()?.sync()?;
        Ok(Recent { known, copy })
    }

    /// Opens copies.
    pub(super) fn open<'r>(&self, recent: impl Iterator<Item = &'r Recent>) -> Result<Vec<Arc<UsersFile>>, AirError> {
        let folder = self.folder.recent();
        recent.map(|recent| UsersFile::open(&folder.join(&recent.copy)).map(Arc::new)).collect()
    }
}

/// A thread's readers, one a feature.
struct Readers<'r> {
    refresh: &'r Refresh<'r>,
    tables: Vec<Arc<FeatureTable>>,
    readers: BTreeMap<FeatureName, IntervalReader<'r>>,
}

impl<'r> Readers<'r> {
    fn new(refresh: &'r Refresh<'r>) -> Self {
        Self { refresh, tables: refresh.tables(), readers: BTreeMap::new() }
    }

    fn read(
        &mut self,
        file: &Listed,
        each: impl FnMut(&[u8], &[Entry]) -> Result<(), AirError>,
    ) -> Result<Known, AirError> {
        let Refresh { store, lanes, dictionary, .. } = self.refresh;
        if !self.readers.contains_key(&file.feature) {
            let table = self.tables.iter().find(|table| table.name == file.feature);
            let table = table.expect("only files of these features are listed");
            self.readers.insert(file.feature.clone(), IntervalReader::new(table, lanes, dictionary));
        }
        let reader = self.readers.get_mut(&file.feature).expect("just made");
        let path = &file.path;
        let (found, id) = store.open(path)?.ok_or(AirError::Unsettled)?;
        // The Parquet reader panics on some damaged files.
        match std::panic::catch_unwind(AssertUnwindSafe(|| reader.read(path, found, each))) {
            Ok(order) => Ok(Known { id, order: order? }),
            Err(_) => {
                Err(AirError::DamagedFeature { path: path.clone(), source: "the parquet reader panicked".into() })
            }
        }
    }
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
