//! The daily snapshots: which still hold, which are missing, and how the missing ones are made.

use std::collections::HashMap;
use std::sync::Arc;

use neartime_model::{ChunkWidth, Instant, Span};

use super::Refresh;
use crate::count::{Counts, count_all};
use crate::error::AirError;
use crate::input::{FileId, Found, Known, Listed};
use crate::merge::{Merge, Source};
use crate::udb::{Draft, Fold, Folder, Hidden, Keeping, Snapshot, UsersFile, UsersSource};

/// So many snapshots are kept; a late file of an older day makes the user database from nothing.
const SNAPSHOTS_KEPT: usize = 8;

/// What one pass over all users is given.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) sources: Vec<Box<dyn Source>>,
    /// So many of them are of the days before the last midnight.
    pub(super) settled_sources: usize,
    /// What to make of those.
    pub(super) keeping: Option<Keeping>,
    pub(super) counting: bool,
}

/// What is there once the missing snapshots are made.
pub(super) struct CaughtUp {
    /// The latest; none if there is no file to make one from.
    pub(super) latest: Option<Arc<Snapshot>>,
    /// The same, if it was made now and is yet to be published.
    pub(super) hidden: Option<Hidden>,
    /// Of all users, if they were asked for.
    pub(super) counts: Option<Counts>,
}

impl Refresh<'_> {
    /// The midnight at or before the instant.
    pub(super) fn midnight(&self) -> Instant {
        ChunkWidth::DAY.chunk_of(self.as_of).start()
    }

    /// The snapshots up to the instant that the files still bear out, latest first. Stale ones are removed: those from
    /// the first changed day on. So are those of days to come, left by a report of the future: they are not of use
    /// before their time, when files that nobody has yet will have made them stale.
    pub(super) fn valid_snapshots(
        &self,
        mut snapshots: Vec<Snapshot>,
        listed: &[Listed],
    ) -> Result<Vec<Arc<Snapshot>>, AirError> {
        let to_come = snapshots.iter().filter(|snapshot| snapshot.end > self.as_of.max(self.now));
        to_come.into_iter().try_for_each(|snapshot| self.folder.remove(snapshot))?;
        snapshots.retain(|snapshot| snapshot.end <= self.midnight());
        let mut valid = snapshots.len();
        for (at, snapshot) in snapshots.iter().enumerate() {
            // A later one holds all that the earlier ones were made from.
            if self.bears_out(listed, snapshot)? {
                valid = at;
                break;
            }
            tracing::info!(snapshot = snapshot.name(), "stale snapshot removed");
            self.folder.remove(snapshot)?;
        }
        Ok(snapshots.into_iter().skip(valid).map(Arc::new).collect())
    }

    fn bears_out(&self, listed: &[Listed], snapshot: &Snapshot) -> Result<bool, AirError> {
        let (inputs, mut files) = (snapshot.inputs()?, 0);
        for file in listed.iter().filter(|file| file.chunk.end() <= snapshot.end) {
            let Some(known) = inputs.get(&file.path) else { return Ok(false) };
            if !self.is_same(file, known)? {
                return Ok(false);
            }
            files += 1;
        }
        Ok(files == inputs.len())
    }

    /// Makes the snapshots that are missing, each from the one before and the files of its day. With copies of the
    /// `recent` chunks, all users are counted in the last pass.
    pub(super) fn catch_up(
        &self,
        listed: &[Listed],
        mut snapshots: Vec<Arc<Snapshot>>,
        mut recent: Option<Vec<Arc<UsersFile>>>,
    ) -> Result<CaughtUp, AirError> {
        let ends = self.missing_days(listed, snapshots.first().map(|base| base.end));
        let (mut hidden, mut counts): (Option<Hidden>, _) = (None, None);
        for end in &ends {
            if let Some(before) = hidden.take() {
                self.publish(before)?;
            }
            let recent = if Some(end) == ends.last() { recent.take() } else { None };
            let counted = recent.is_some();
            let (made, found) = self.make_snapshot(listed, snapshots.first(), *end, recent)?;
            counts = counted.then_some(found);
            snapshots.insert(0, Arc::clone(made.snapshot()));
            hidden = Some(made);
        }
        let latest = snapshots.first().cloned();
        if let Some(recent) = recent {
            counts = Some(self.count_all(latest.as_ref(), recent)?);
        }
        snapshots.iter().skip(SNAPSHOTS_KEPT).try_for_each(|snapshot| self.folder.remove(snapshot))?;
        Ok(CaughtUp { latest, hidden, counts })
    }

    /// Makes a snapshot visible, once the disk has all that it refers to.
    pub(super) fn publish(&self, hidden: Hidden) -> Result<(), AirError> {
        self.dictionary.save()?;
        hidden.publish()
    }

    fn make_snapshot(
        &self,
        listed: &[Listed],
        base: Option<&Arc<Snapshot>>,
        end: Instant,
        recent: Option<Vec<Arc<UsersFile>>>,
    ) -> Result<(Hidden, Counts), AirError> {
        let begin = base.map(|base| base.end);
        let is_new = |file: &&Listed| file.chunk.end() <= end && begin.is_none_or(|begin| file.chunk.end() > begin);
        let files: Vec<&Listed> = listed.iter().filter(is_new).collect();
        let found = Found::default();
        let mut sources = of_snapshot(base);
        sources.extend(self.sources(&files, &found)?);
        let settled_sources = sources.len();
        let counting = recent.is_some();
        sources.extend(recent.into_iter().flatten().map(of_copy));
        let draft = Draft::begin(&self.folder.days(), "draft", end, self.lanes.classes().len())?;
        let draft = Arc::new(draft);
        let keeping = Some(Keeping::Snapshot(Arc::clone(&draft)));
        let counts = self.pass(Pass { sources, settled_sources, keeping, counting })?;
        let mut inputs = found.take();
        if let Some(base) = base {
            // Files may have been replaced by the same: the next report need not look into those again.
            let ids: HashMap<&str, FileId> = listed.iter().map(|file| (file.path.as_str(), file.id)).collect();
            let id = |path: &String, known: &Known| ids.get(path.as_str()).copied().unwrap_or(known.id);
            let before = base.inputs()?.iter();
            inputs.extend(before.map(|(path, known)| (path.clone(), Known { id: id(path, known), ..*known })));
        }
        let name = Folder::name(end, self.fence);
        Ok((draft.finish(inputs, self.dictionary.sizes(), &name)?, counts))
    }

    /// The midnights that want a snapshot, after the one that ends at `have`.
    fn missing_days(&self, listed: &[Listed], have: Option<Instant>) -> Vec<Instant> {
        let midnight = self.midnight();
        match have {
            None if !listed.iter().any(|file| file.chunk.end() <= midnight) => Vec::new(),
            // From nothing there is no day before to start from: one pass over all days.
            None => vec![midnight],
            Some(have) => {
                let day = Span::from_days(1);
                let mut ends: Vec<Instant> = std::iter::successors(Some(midnight), |end| Some(*end - day))
                    .take_while(|end| *end > have)
                    .take(SNAPSHOTS_KEPT)
                    .collect();
                ends.reverse();
                ends
            }
        }
    }

    /// Counts the users of a snapshot and of copies of the chunks after it.
    pub(super) fn count_all(
        &self,
        base: Option<&Arc<Snapshot>>,
        recent: Vec<Arc<UsersFile>>,
    ) -> Result<Counts, AirError> {
        let mut sources = of_snapshot(base);
        let settled_sources = sources.len();
        sources.extend(recent.into_iter().map(of_copy));
        self.pass(Pass { sources, settled_sources, keeping: None, counting: true })
    }

    /// One pass over all users.
    pub(super) fn pass(&self, pass: Pass) -> Result<Counts, AirError> {
        let Pass { sources, settled_sources, keeping, counting } = pass;
        let fold = Fold {
            users: Merge::new(sources),
            settled_sources,
            lanes: self.lanes.clone(),
            dictionary: Arc::clone(&self.dictionary),
            keeping,
            counting: counting.then(|| self.counting()),
        };
        self.store.runtime.block_on(count_all(Arc::new(fold), self.effort.threads))
    }
}

fn of_snapshot(snapshot: Option<&Arc<Snapshot>>) -> Vec<Box<dyn Source>> {
    snapshot.into_iter().map(|snapshot| Box::new(UsersSource::of_snapshot(snapshot)) as Box<dyn Source>).collect()
}

fn of_copy(copy: Arc<UsersFile>) -> Box<dyn Source> {
    Box::new(UsersSource::new(vec![copy]))
}
