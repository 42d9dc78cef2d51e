//! Brings the user database and the counts up to an instant, with as little work as the changes allow.
//!
//! ```text
//! days of the store ──► snapshot of the last midnight ─┐
//! chunks since ───────► copies, users sorted ──────────┴─► counts ──► state for the next time
//! ```
//!
//! If the last report's state still holds, only users that something happened to are counted again (`touched`).
//! Otherwise all are, in the same pass that writes the last missing snapshot.

mod days;
mod read;
mod touched;

use std::collections::BTreeMap;
use std::sync::Arc;

use neartime_engine::FeatureTable;
use neartime_model::{Fence, Instant, Span};

use crate::config::{AirConfig, Order};
use crate::count::{Counts, GroupsOf};
use crate::durable::{Syncs, sync_folder};
use crate::error::AirError;
use crate::input::{FeatureFiles, Known, Listed, content_of};
use crate::names::Groups;
use crate::progress::Progress;
use crate::state::{Recent, State};
use crate::udb::{
    Counting, Dictionary, EXPIRY_KNOWN, Folder, Grouping, Hidden, Inputs, Lanes, Settler, Snapshot, stable_hash,
};
use days::CaughtUp;

/// How long after midnight the last report's counts still lean on the snapshot before: late files of the day that has
/// just ended then cost a new snapshot, but no new count of all users.
const SETTLE: Span = Span::from_mins(6 * 60);

/// Above one touched user in so many, counting all is cheaper.
const TOUCHED_SHARE: usize = 4;

/// What a refresh works on.
pub(crate) struct Refresh<'a> {
    pub(crate) config: &'a AirConfig,
    pub(crate) store: FeatureFiles,
    pub(crate) folder: &'a Folder,
    pub(crate) dictionary: Arc<Dictionary>,
    pub(crate) lanes: Lanes,
    pub(crate) groups: &'a Groups,
    pub(crate) group_names: &'a [String],
    pub(crate) as_of: Instant,
    /// The present, which a report need not be of.
    pub(crate) now: Instant,
    pub(crate) fence: Fence,
    pub(crate) effort: Effort,
    pub(crate) progress: &'a Progress,
    /// Takes the copies of recent chunks to the disk, while what they say is counted.
    pub(crate) syncs: Syncs,
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
    /// The counts, and what the next report wants to know of them.
    pub(crate) state: State,
    /// What the next report begins with, if it was made now.
    pub(crate) hidden: Option<Hidden>,
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
    /// Counts all users as of the instant. [`Refresh::keep`] leaves the counts for the next report.
    pub(crate) fn run(&self) -> Result<Refreshed, AirError> {
        let listed = self.list()?;
        let (snapshots, state) = (self.folder.snapshots()?, State::read(&self.folder.state())?);
        self.know_all_names(&snapshots, state.as_ref())?;
        let snapshots = self.valid_snapshots(snapshots, &listed)?;
        let mut refreshed = match state {
            Some(state) => match self.base_of(&state, &snapshots) {
                Some(base) => self.advance(state, base, &listed, snapshots)?,
                None => self.recount(&listed, snapshots, state.recent)?,
            },
            None => self.recount(&listed, snapshots, BTreeMap::new())?,
        };
        let Refreshed { state, inputs, .. } = &mut refreshed;
        inputs.extend(state.recent.iter().map(|(path, recent)| (path.clone(), recent.known)));
        Ok(refreshed)
    }

    /// Leaves the state for the next report, and removes what only the one before referred to.
    pub(crate) fn keep(self, state: &State, hidden: Option<Hidden>) -> Result<(), AirError> {
        // What the state refers to is durable before the state is.
        match hidden {
            Some(hidden) => self.publish(hidden)?,
            None => self.dictionary.save()?,
        }
        self.syncs.end()?;
        sync_folder(&self.folder.recent())?;
        state.write(&self.folder.state())?;
        self.folder.tidy(&state.recent.values().map(|recent| recent.copy.as_str()).collect())
    }

    /// Checks that the dictionary still has every name that what is kept refers to.
    fn know_all_names(&self, snapshots: &[Snapshot], state: Option<&State>) -> Result<(), AirError> {
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
                listed.extend(self.store.list(table, self.as_of)?);
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

    /// Whether a file still has the content that was read. Only a file that was replaced is looked into: wholly, since
    /// other content may be of the same order.
    fn is_same(&self, file: &Listed, known: &Known) -> Result<bool, AirError> {
        if file.id == known.id {
            return Ok(true);
        }
        if file.id.size_bytes != known.id.size_bytes {
            return Ok(false);
        }
        let (found, id) = self.store.open(&file.path)?.ok_or(AirError::Unsettled)?;
        Ok(content_of(&file.path, &found, id.size_bytes)? == known.content)
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
    ) -> Result<Refreshed, AirError> {
        let State { as_of: from, rules, base: base_name, recent: mut before, counts, .. } = state;
        let after = self.copies(listed, base.as_ref().map(|base| base.end), &mut before)?;
        let files = touched::Files {
            base: base.clone(),
            before: self.open(before.values())?,
            both: self.open(after.kept.values())?,
            after: self.open(after.made.values())?,
        };
        let (counts, work) = self.move_on(files, counts, from)?;
        let CaughtUp { latest, hidden, .. } = self.catch_up(listed, snapshots, None)?;
        // That pass reads files again, which may have got new names meanwhile.
        let names = self.dictionary.sizes();
        let counts = counts.widen(names[0], names[1]);
        let state = State { as_of: self.as_of, rules, base: base_name, names, recent: after.all(), counts };
        let (state, base) = self.lean_on(latest, base, state)?;
        Ok(Refreshed { state, hidden, inputs: inputs_of(base.as_deref())?, work })
    }

    /// Brings counts as of `from` up to the instant: counts the touched users, or all if those are too many.
    fn move_on(&self, files: touched::Files, counts: Counts, from: Instant) -> Result<(Counts, Work), AirError> {
        let ([segments, sites, _], mut groups) = (self.dictionary.sizes(), GroupsOf::new());
        self.counting().grouping.learn(&mut groups, &self.dictionary);
        let touch = touched::Touch {
            files: &files,
            lanes: &self.lanes,
            settler: &self.settler(),
            sizes: [segments, sites, self.group_names.len()],
            groups: &groups,
            order: self.config.order,
            from,
            to: self.as_of,
        };
        let of_base = files.base.as_ref().map_or(0, |base| base.users);
        let users = of_base + files.both.iter().map(|file| file.users()).sum::<usize>();
        let Some(changes) = touch.changes(self.effort.threads, users / TOUCHED_SHARE)? else {
            let recent = [files.both, files.after].concat();
            return Ok((self.count_all(files.base.as_ref(), recent)?, Work::Everyone));
        };
        let mut counts = counts.widen(segments, sites);
        changes.differences.iter().for_each(|difference| counts.absorb(difference));
        Ok((counts, Work::Touched(changes.touched)))
    }

    /// Lets the state lean on the latest snapshot instead of `base`, once that has settled and says the same. Also
    /// tells which of the two it leans on.
    fn lean_on(
        &self,
        latest: Option<Arc<Snapshot>>,
        base: Option<Arc<Snapshot>>,
        mut state: State,
    ) -> Result<(State, Option<Arc<Snapshot>>), AirError> {
        let Some(latest) = latest.filter(|latest| latest.end + SETTLE <= self.as_of) else { return Ok((state, base)) };
        if !holds_the_same(&latest, base.as_deref(), &state)? {
            return Ok((state, base));
        }
        state.base = latest.name();
        let inputs = latest.inputs()?;
        state.recent.retain(|path, _| !inputs.contains_key(path));
        Ok((state, Some(latest)))
    }

    /// Counts all users; `copied` are copies of files that may be of use.
    fn recount(
        &self,
        listed: &[Listed],
        snapshots: Vec<Arc<Snapshot>>,
        mut copied: BTreeMap<String, Recent>,
    ) -> Result<Refreshed, AirError> {
        let any_day = listed.iter().any(|file| file.chunk.end() <= self.midnight());
        let end = (any_day || !snapshots.is_empty()).then(|| self.midnight());
        let copies = self.copies(listed, end, &mut copied)?.all();
        let recent = self.open(copies.values())?;
        let CaughtUp { latest: base, hidden, counts } = self.catch_up(listed, snapshots, Some(recent))?;
        let state = State {
            as_of: self.as_of,
            rules: self.rules(),
            base: base.as_ref().map(|base| base.name()).unwrap_or_default(),
            names: self.dictionary.sizes(),
            recent: copies,
            counts: counts.expect("counts were asked for"),
        };
        Ok(Refreshed { state, hidden, inputs: inputs_of(base.as_deref())?, work: Work::Everyone })
    }

    /// Joins by the rules, of all origins that are known by now.
    fn settler(&self) -> Settler {
        let mut settler = Settler::new(&self.lanes);
        settler.learn(&self.dictionary);
        settler
    }

    /// Who counts.
    fn counting(&self) -> Counting {
        let number = |group: &String| self.group_names.binary_search(group).ok().map(|at| at as u32);
        let of_segment = match self.groups {
            Groups::All => None,
            Groups::Listed(segments) => Some(
                segments
                    .iter()
                    .map(|(segment, groups)| (segment.as_bytes().into(), groups.keys().filter_map(number).collect()))
                    .collect(),
            ),
        };
        let grouping = Arc::new(Grouping { count: self.group_names.len(), of_segment });
        Counting { as_of: self.as_of, order: self.config.order, grouping }
    }
}

fn inputs_of(snapshot: Option<&Snapshot>) -> Result<Inputs, AirError> {
    snapshot.map_or(Ok(Inputs::new()), |snapshot| snapshot.inputs().cloned())
}

/// Whether a snapshot was made from the very files that were counted.
fn holds_the_same(latest: &Snapshot, base: Option<&Snapshot>, state: &State) -> Result<bool, AirError> {
    let before = base.map(Snapshot::inputs).transpose()?;
    Ok(latest.inputs()?.iter().all(|(path, known)| {
        let counted = state.recent.get(path).map(|recent| &recent.known);
        let counted = counted.or_else(|| before.and_then(|before| before.get(path)));
        counted.is_some_and(|counted| counted.content == known.content)
    }))
}
