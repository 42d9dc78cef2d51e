//! The daily snapshots: which still hold, which are missing, and how the missing ones are made.

use std::sync::Arc;

use neartime_model::{ChunkWidth, Instant, Span};

use super::Refresh;
use crate::count::{Counts, count_all};
use crate::error::AirError;
use crate::input::{Listed, Spool};
use crate::progress::Stage;
use crate::udb::{Draft, Fold, Folder, Snapshot, UsersFile};

/// So many snapshots are kept; a late file of an older day makes the user database from nothing.
const SNAPSHOTS_KEPT: usize = 8;

/// What one pass over all users is given.
#[derive(Default)]
pub(super) struct Pass {
    /// The snapshot to start from.
    pub(super) base: Option<Arc<Snapshot>>,
    /// The days after it, and the snapshot to make of both.
    pub(super) days: Option<(Spool, Arc<Draft>)>,
    /// Copies of the chunks after those days, if the users are to be counted.
    pub(super) recent: Option<Vec<Arc<UsersFile>>>,
}

impl Refresh<'_> {
    /// The midnight at or before the instant.
    pub(super) fn midnight(&self) -> Instant {
        ChunkWidth::DAY.chunk_of(self.as_of).start()
    }

    /// The snapshots that the files still bear out, latest first. Stale ones are removed: those from the first
    /// changed day on.
    pub(super) fn valid_snapshots(&self, listed: &[Listed]) -> Result<Vec<Arc<Snapshot>>, AirError> {
        let mut snapshots = self.folder.snapshots()?;
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
    /// `recent` chunks, all users are counted in the last pass. Returns the latest snapshot; none if there is no file
    /// to make one from.
    pub(super) fn catch_up(
        &self,
        listed: &[Listed],
        mut snapshots: Vec<Arc<Snapshot>>,
        mut recent: Option<Vec<Arc<UsersFile>>>,
    ) -> Result<(Option<Arc<Snapshot>>, Option<Counts>), AirError> {
        let ends = self.missing_days(listed, snapshots.first().map(|base| base.end));
        let mut counts = None;
        for end in &ends {
            let recent = if Some(end) == ends.last() { recent.take() } else { None };
            let counted = recent.is_some();
            let (snapshot, found) = self.make_snapshot(listed, snapshots.first(), *end, recent)?;
            counts = counted.then_some(found);
            snapshots.insert(0, Arc::new(snapshot));
        }
        let base = snapshots.first().cloned();
        if recent.is_some() {
            counts = Some(self.pass(Pass { base: base.clone(), days: None, recent })?);
        }
        snapshots.iter().skip(SNAPSHOTS_KEPT).try_for_each(|snapshot| self.folder.remove(snapshot))?;
        Ok((base, counts))
    }

    fn make_snapshot(
        &self,
        listed: &[Listed],
        base: Option<&Arc<Snapshot>>,
        end: Instant,
        recent: Option<Vec<Arc<UsersFile>>>,
    ) -> Result<(Snapshot, Counts), AirError> {
        let begin = base.map(|base| base.end);
        let is_new = |file: &&Listed| file.chunk.end() <= end && begin.is_none_or(|begin| file.chunk.end() > begin);
        let files: Vec<&Listed> = listed.iter().filter(is_new).collect();
        let buckets = base.map_or_else(|| buckets_for(&files), |base| base.buckets);
        let (days, mut inputs) = self.spool(&files, buckets, end)?;
        let draft = Arc::new(Draft::begin(&self.folder.days(), end, buckets)?);
        let counts = self.pass(Pass { base: base.cloned(), days: Some((days, Arc::clone(&draft))), recent })?;
        if let Some(base) = base {
            inputs.extend(base.inputs()?.iter().map(|(path, known)| (path.clone(), *known)));
        }
        self.dictionary.save()?;
        let name = Folder::name(end, self.fence);
        Ok((draft.publish(inputs, self.dictionary.sizes(), &self.folder.days(), &name)?, counts))
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

    /// One pass over all users; counts nobody without recent chunks.
    pub(super) fn pass(&self, pass: Pass) -> Result<Counts, AirError> {
        let Pass { base, days, recent } = pass;
        let (days, draft) = days.unzip();
        let buckets = draft.as_ref().map(|draft| draft.buckets).or(base.as_ref().map(|base| base.buckets));
        let buckets = buckets.unwrap_or_else(|| buckets_for(&[]));
        let fold = Fold {
            lanes: self.lanes.clone(),
            settler: self.settler(),
            buckets,
            steps: self.progress.steps(Stage::Counting, buckets),
            base,
            days,
            draft,
            counting: recent.is_some().then(|| self.counting()),
            recent: recent.unwrap_or_default(),
        };
        self.store.runtime.block_on(count_all(Arc::new(fold), self.effort.threads))
    }
}

/// How many buckets the users of these files want: about a few megabytes of Parquet each.
fn buckets_for(files: &[&Listed]) -> usize {
    let bytes: u64 = files.iter().map(|file| file.id.size_bytes).sum();
    usize::try_from(bytes / (3 << 20)).unwrap_or(usize::MAX).clamp(16, 4096).next_power_of_two()
}
