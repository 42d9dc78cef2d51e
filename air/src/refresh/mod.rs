//! Brings the user database and the counts up to an instant, with as little work as the changes allow.
//!
//! ```text
//! days of the store ──► snapshot of the last midnight ─┐
//! chunks since ───────► copies, users sorted ──────────┴─► counts ──► state for the next time
//! ```
//!
//! If the last report's state still holds, only users that something happened to are counted again (`touched`).
//! Otherwise all are, in the same pass that writes the last missing snapshot.

mod read;
mod touched;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use neartime_engine::FeatureTable;
use neartime_model::{ChunkWidth, ContentOrder, Fence, Instant, Span};
use tokio::runtime::Handle;

use crate::config::{AirConfig, Order};
use crate::count::{Counts, GroupsOf, count_all};
use crate::error::AirError;
use crate::input::{IntervalReader, Known, Listed, Spool, list};
use crate::names::Groups;
use crate::state::{Recent, State};
use crate::udb::{Counting, Dictionary, Draft, EXPIRY_KNOWN, Fold, Folder, Inputs, Kind, Lanes, Settler, Snapshot};
use crate::udb::{UsersFile, stable_hash};

/// How long after midnight the last report's counts still lean on the snapshot before: late files of the day that has
/// just ended then cost a new snapshot, but no new count of all users.
const SETTLE: Span = Span::from_mins(6 * 60);

/// So many snapshots are kept; a late file of an older day makes the user database from nothing.
const SNAPSHOTS_KEPT: usize = 8;

/// Above one touched user in so many, counting all is cheaper.
const TOUCHED_SHARE: usize = 4;

/// What a refresh works on.
pub(crate) struct Refresh<'a> {
    pub(crate) config: &'a AirConfig,
    pub(crate) store: &'a Path,
    pub(crate) folder: &'a Folder,
    pub(crate) dictionary: Arc<Dictionary>,
    pub(crate) lanes: Lanes,
    pub(crate) groups: &'a Groups,
    pub(crate) group_names: &'a [String],
    pub(crate) as_of: Instant,
    pub(crate) fence: Fence,
    pub(crate) effort: Effort,
    pub(crate) runtime: Handle,
}

/// How much of the machine may be used.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Threads that read and count.
    pub threads: usize,
    /// Bytes of rows kept in memory before they go to temporary files. Bucket and count tables come on top.
    pub memory_bytes: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Refreshed {
    pub(crate) counts: Counts,
    /// Every file that was counted.
    pub(crate) inputs: Inputs,
    pub(crate) work: Work,
}

/// How many users had to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// All of them.
    Everyone,
    /// Only so many: those of changed chunk rows, and those whose memberships ended since the last report.
    Touched(usize),
}

impl Default for Effort {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self { threads, memory_bytes: 512 << 20 }
    }
}

impl Refresh<'_> {
    /// Counts all users as of the instant, and leaves a state for the next report.
    pub(crate) fn run(&self) -> Result<Refreshed, AirError> {
        let listed = self.list()?;
        let snapshots = self.valid_snapshots(&listed)?;
        let state = State::read(&self.folder.state())?;
        self.know_all_names(&snapshots, state.as_ref())?;
        let (state, work) = match state {
            Some(state) => match self.base_of(&state, &snapshots) {
                Some(base) => self.advance(state, base, &listed, snapshots)?,
                None => self.recount(&listed, snapshots, state.recent)?,
            },
            None => self.recount(&listed, snapshots, BTreeMap::new())?,
        };
        let (mut state, base_inputs) = state;
        self.dictionary.save()?;
        state.names = self.dictionary.sizes();
        state.write(&self.folder.state())?;
        self.folder.tidy(&state.recent.values().map(|recent| recent.copy.as_str()).collect())?;
        let mut inputs = base_inputs;
        inputs.extend(state.recent.into_iter().map(|(path, recent)| (path, recent.known)));
        Ok(Refreshed { counts: state.counts, inputs, work })
    }

    /// Checks that the dictionary still has every name that what is kept refers to.
    fn know_all_names(&self, snapshots: &[Arc<Snapshot>], state: Option<&State>) -> Result<(), AirError> {
        let mut sizes = snapshots.iter().map(|snapshot| snapshot.names).chain(state.map(|state| state.names));
        if sizes.all(|sizes| self.dictionary.covers(sizes)) {
            return Ok(());
        }
        let path = self.dictionary.path().to_owned();
        Err(AirError::DamagedUdb { path, reason: "it lacks names that it had" })
    }

    /// All files of chunks that end in time, oldest path first within each feature.
    fn list(&self) -> Result<Vec<Listed>, AirError> {
        let tables = self.tables();
        let lists = read::in_parallel(&tables, self.effort.threads, |tables| {
            let mut listed = Vec::new();
            for table in tables {
                listed.extend(list(self.store, table, self.as_of)?);
            }
            Ok(listed)
        })?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// The features, each once.
    fn tables(&self) -> Vec<Arc<FeatureTable>> {
        let mut tables: Vec<Arc<FeatureTable>> = Vec::new();
        for (_, lane) in self.lanes.iter() {
            if !tables.iter().any(|table| table.name == lane.member.table.name) {
                tables.push(Arc::clone(&lane.member.table));
            }
        }
        tables
    }

    /// The midnight at or before the instant.
    fn midnight(&self) -> Instant {
        ChunkWidth::DAY.chunk_of(self.as_of).start()
    }

    /// The snapshots that the files still bear out, latest first. Stale ones are removed: those from the first
    /// changed day on.
    fn valid_snapshots(&self, listed: &[Listed]) -> Result<Vec<Arc<Snapshot>>, AirError> {
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
        let mut files = 0;
        for file in listed.iter().filter(|file| file.chunk.end() <= snapshot.end) {
            let Some(known) = snapshot.inputs.get(&file.path) else { return Ok(false) };
            if !self.is_same(file, known)? {
                return Ok(false);
            }
            files += 1;
        }
        Ok(files == snapshot.inputs.len())
    }

    /// Whether a file still has the content that was read. Only a file that was replaced is looked into.
    fn is_same(&self, file: &Listed, known: &Known) -> Result<bool, AirError> {
        if file.id == known.id {
            return Ok(true);
        }
        let order: Option<ContentOrder> = IntervalReader::known(&self.store.join(&file.path))?.map(|found| found.order);
        order.map(|order| order == known.order).ok_or(AirError::Unsettled)
    }

    /// The snapshot that the state's counts can be moved on from (`Some(None)`: without one), if they can be.
    fn base_of(&self, state: &State, snapshots: &[Arc<Snapshot>]) -> Option<Option<Arc<Snapshot>>> {
        let holds = state.rules == self.rules()
            && state.as_of <= self.as_of
            && state.counts.sizes()[2] == self.group_names.len();
        if !holds {
            return None;
        }
        if state.base.is_empty() {
            return Some(None);
        }
        let base = snapshots.iter().find(|snapshot| snapshot.name() == state.base)?;
        (self.as_of <= base.end + EXPIRY_KNOWN).then(|| Some(Arc::clone(base)))
    }

    /// What the counts of the same users depend on, besides the instant.
    fn rules(&self) -> u64 {
        let mut text = match self.config.order {
            Order::Before => "before".to_owned(),
            Order::Any => "any".to_owned(),
        };
        if let Groups::Listed(segments) = self.groups {
            for (segment, groups) in segments {
                text.push_str(&format!("\n{segment:?} {:?}", groups.keys()));
            }
        }
        stable_hash(text.as_bytes())
    }

    /// Moves the last report's counts on by counting the touched users before and after.
    fn advance(
        &self,
        state: State,
        base: Option<Arc<Snapshot>>,
        listed: &[Listed],
        snapshots: Vec<Arc<Snapshot>>,
    ) -> Result<((State, Inputs), Work), AirError> {
        let State { as_of, rules, base: base_name, recent: mut before, counts, names } = state;
        let end = base.as_ref().map(|base| base.end);
        let after = self.copies(listed, end, &mut before)?;
        let files = touched::Files {
            base: base.clone(),
            before: self.open(before.values())?,
            both: self.open(after.kept.values())?,
            after: self.open(after.made.values())?,
        };
        let counting = self.counting();
        let settler = self.settler();
        let touch =
            touched::Touch { files: &files, lanes: &self.lanes, settler: &settler, from: as_of, to: self.as_of };
        let of_base = base.as_ref().map_or(Ok(0), |base| users_in(base))?;
        let users: usize = of_base + files.both.iter().map(|file| file.users()).sum::<usize>();
        let (counts, work) = match touch.changes(self.effort.threads, users / TOUCHED_SHARE)? {
            Some(changes) => {
                let mut counts = counts.widen(counting.groups.segments(), counting.sites);
                changes.users.iter().for_each(|change| change.apply(&mut counts, &counting));
                (counts, Work::Touched(changes.touched))
            }
            None => {
                let recent = [files.both, files.after].concat();
                (self.fold(base.clone(), None, None, recent, Some(counting))?, Work::Everyone)
            }
        };
        let mut state = State { as_of: self.as_of, rules, base: base_name, names, recent: after.all(), counts };
        let latest = self.snapshots_until_midnight(listed, snapshots, None)?.0;
        let base = match latest {
            Some(latest) if latest.end + SETTLE <= self.as_of && holds_the_same(&latest, base.as_deref(), &state) => {
                state.base = latest.name();
                state.recent.retain(|path, _| !latest.inputs.contains_key(path));
                Some(latest)
            }
            _ => base,
        };
        Ok(((state, base.map(|base| base.inputs.clone()).unwrap_or_default()), work))
    }

    /// Counts all users; `copied` are copies of files that may be of use.
    fn recount(
        &self,
        listed: &[Listed],
        snapshots: Vec<Arc<Snapshot>>,
        mut copied: BTreeMap<String, Recent>,
    ) -> Result<((State, Inputs), Work), AirError> {
        let any_day = listed.iter().any(|file| file.chunk.end() <= self.midnight());
        let end = (any_day || !snapshots.is_empty()).then(|| self.midnight());
        let copies = self.copies(listed, end, &mut copied)?.all();
        let recent = self.open(copies.values())?;
        let (base, counts) = self.snapshots_until_midnight(listed, snapshots, Some(recent))?;
        let state = State {
            as_of: self.as_of,
            rules: self.rules(),
            base: base.as_ref().map(|base| base.name()).unwrap_or_default(),
            names: [0; 3],
            recent: copies,
            counts: counts.expect("counts were asked for"),
        };
        Ok(((state, base.map(|base| base.inputs.clone()).unwrap_or_default()), Work::Everyone))
    }

    /// Makes the snapshots that are missing, each from the one before and the files of its day. With `recent` files
    /// the users of all are counted in the last pass. Returns the latest snapshot; none if there is no file to make
    /// one from.
    fn snapshots_until_midnight(
        &self,
        listed: &[Listed],
        mut snapshots: Vec<Arc<Snapshot>>,
        mut recent: Option<Vec<Arc<UsersFile>>>,
    ) -> Result<(Option<Arc<Snapshot>>, Option<Counts>), AirError> {
        let mut base = snapshots.first().cloned();
        let mut counts = None;
        let ends = self.missing_days(listed, base.as_ref().map(|base| base.end));
        for &end in &ends {
            let begin = base.as_ref().map(|base| base.end);
            let of_days =
                |file: &&Listed| file.chunk.end() <= end && begin.is_none_or(|begin| file.chunk.end() > begin);
            let files: Vec<&Listed> = listed.iter().filter(of_days).collect();
            let buckets = base.as_ref().map_or_else(|| buckets_for(&files), |base| base.buckets);
            let (days, mut inputs) = self.spool(&files, buckets, end)?;
            let draft = Arc::new(Draft::begin(&self.folder.days(), end, buckets)?);
            let counting =
                if Some(&end) == ends.last() { recent.take().map(|recent| (recent, self.counting())) } else { None };
            let (recent, counting) = counting.map_or((Vec::new(), None), |(recent, counting)| (recent, Some(counting)));
            let wanted = counting.is_some();
            let found = self.fold(base.clone(), Some((days, buckets)), Some(Arc::clone(&draft)), recent, counting)?;
            counts = wanted.then_some(found);
            if let Some(base) = &base {
                inputs.extend(base.inputs.iter().map(|(path, known)| (path.clone(), *known)));
            }
            self.dictionary.save()?;
            let draft = Arc::into_inner(draft).expect("the pass has ended");
            let snapshot =
                draft.publish(inputs, self.dictionary.sizes(), &self.folder.days(), &Folder::name(end, self.fence))?;
            base = Some(Arc::new(snapshot));
            snapshots.insert(0, Arc::clone(base.as_ref().expect("just made")));
        }
        if let Some(recent) = recent {
            counts = Some(self.fold(base.clone(), None, None, recent, Some(self.counting()))?);
        }
        snapshots.iter().skip(SNAPSHOTS_KEPT).try_for_each(|snapshot| self.folder.remove(snapshot))?;
        Ok((base, counts))
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

    /// One pass over all users.
    fn fold(
        &self,
        base: Option<Arc<Snapshot>>,
        days: Option<(Spool, usize)>,
        draft: Option<Arc<Draft>>,
        recent: Vec<Arc<UsersFile>>,
        counting: Option<Counting>,
    ) -> Result<Counts, AirError> {
        let buckets = match (&base, &days) {
            (Some(base), _) => base.buckets,
            (None, Some((_, buckets))) => *buckets,
            (None, None) => buckets_for(&[]),
        };
        let days = days.map(|(spool, _)| spool);
        let (lanes, settler) = (self.lanes.clone(), self.settler());
        let fold = Fold { lanes, settler, buckets, base, days, draft, recent, counting };
        self.runtime.block_on(count_all(Arc::new(fold), self.effort.threads))
    }

    fn settler(&self) -> Settler {
        Settler::new(&self.lanes, self.dictionary.origins().into_iter().map(|origin| origin.lane))
    }

    /// Who counts, with all names that are known by now.
    fn counting(&self) -> Counting {
        let names = self.dictionary.names(Kind::Segment);
        let all = [0];
        let of = |name: &Arc<[u8]>| match self.groups {
            Groups::All => all.to_vec(),
            Groups::Listed(segments) => {
                let groups = std::str::from_utf8(name).ok().and_then(|name| segments.get(name));
                let number = |group: &String| self.group_names.binary_search(group).ok().map(|at| at as u32);
                groups.into_iter().flat_map(|groups| groups.keys().filter_map(number)).collect()
            }
        };
        let groups = Arc::new(GroupsOf::new(names.iter().map(of), self.group_names.len()));
        Counting { as_of: self.as_of, order: self.config.order, groups, sites: self.dictionary.len(Kind::Site) }
    }
}

/// Whether a snapshot was made from the very files that were counted.
fn holds_the_same(latest: &Snapshot, base: Option<&Snapshot>, state: &State) -> bool {
    latest.inputs.iter().all(|(path, known)| {
        let counted = state.recent.get(path).map(|recent| &recent.known);
        let counted = counted.or_else(|| base.and_then(|base| base.inputs.get(path)));
        counted.is_some_and(|counted| counted.order == known.order)
    })
}

/// How many buckets the users of these files want: about a few megabytes of Parquet each.
fn buckets_for(files: &[&Listed]) -> usize {
    let bytes: u64 = files.iter().map(|file| file.id.size_bytes).sum();
    usize::try_from(bytes / (3 << 20)).unwrap_or(usize::MAX).clamp(16, 4096).next_power_of_two()
}

fn users_in(snapshot: &Snapshot) -> Result<usize, AirError> {
    (0..snapshot.buckets).try_fold(0, |sum, bucket| snapshot.bucket(bucket).map(|file| sum + file.users()))
}
