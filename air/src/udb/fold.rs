//! One pass over the users: runs are joined, a snapshot is written, the living are counted.

use std::collections::HashMap;
use std::sync::Arc;

use neartime_model::{Instant, Span};

use super::dictionary::{Dictionary, Kind};
use super::joins::Joins;
use super::lanes::{Class, Lanes};
use super::record::Entry;
use super::settle::{Dead, Memberships, Reach, Settler};
use super::snapshot::Draft;
use super::users_writer::Records;
use crate::config::Order;
use crate::count::{Counts, GroupsOf, Users};
use crate::error::AirError;
use crate::merge::{Gather, Gathered, Merge, Window};

/// For so long after its end a snapshot knows whose memberships end when. Later reports count all users again.
pub(crate) const EXPIRY_KNOWN: Span = Span::from_days(2);

/// What is folded, and into what.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) users: Merge,
    /// So many of the sources are of the draft's days; the others are copies of the chunks after them.
    pub(crate) settled_sources: usize,
    pub(crate) lanes: Lanes,
    pub(crate) dictionary: Arc<Dictionary>,
    /// What to write of those days.
    pub(crate) keeping: Option<Keeping>,
    /// Whom to count, if anyone.
    pub(crate) counting: Option<Counting>,
}

/// What is written.
#[derive(Clone, Debug)]
pub(crate) enum Keeping {
    /// A snapshot.
    Snapshot(Arc<Draft>),
    /// Everything, to be merged with more.
    All(Arc<Draft>),
}

/// Who counts.
#[derive(Clone, Debug)]
pub(crate) struct Counting {
    pub(crate) as_of: Instant,
    pub(crate) order: Order,
    pub(crate) grouping: Arc<Grouping>,
}

/// The numbers of the groups that segments belong to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grouping {
    /// How many groups there are.
    pub(crate) count: usize,
    /// By the segment's name; where there is none, all segments are in group 0.
    pub(crate) of_segment: Option<HashMap<Box<[u8]>, Vec<u32>>>,
}

impl Users for Fold {
    fn nobody(&self) -> Counts {
        let [segments, sites, _] = self.dictionary.sizes();
        match &self.counting {
            Some(counting) => Counts::new(segments, sites, counting.grouping.count),
            None => Counts::new(0, 0, 0),
        }
    }

    fn count(&self) -> Result<Counts, AirError> {
        let mut folding = Folding::new(self);
        self.users.work(|window| folding.fold(&window))?;
        Ok(folding.counts)
    }
}

impl Keeping {
    fn draft(&self) -> &Draft {
        let (Self::Snapshot(draft) | Self::All(draft)) = self;
        draft
    }
}

impl Grouping {
    /// Adds the groups of segments that the dictionary has got since.
    pub(crate) fn learn(&self, groups: &mut GroupsOf, dictionary: &Dictionary) {
        for name in dictionary.names_from(Kind::Segment, groups.segments()) {
            match &self.of_segment {
                None => groups.push(&[0]),
                Some(of_segment) => groups.push(of_segment.get(&*name).map_or(&[], Vec::as_slice)),
            }
        }
    }
}

/// What one thread needs to fold users.
struct Folding<'a> {
    fold: &'a Fold,
    settler: Settler,
    groups: GroupsOf,
    counts: Counts,
    gather: Gather,
    kept: Kept,
    dead: Option<Dead>,
    joins: Joins,
    alive: Memberships,
}

/// What a thread keeps of the users of a window.
struct Kept {
    reach: Reach,
    /// By class: the ends of the runs that die while the snapshot's list of them is known.
    dying: Vec<Option<(i64, i64)>>,
    records: Option<Records>,
    entries: Vec<Entry>,
    ends: Vec<(u8, i64)>,
}

impl<'a> Folding<'a> {
    fn new(fold: &'a Fold) -> Self {
        let settler = Settler::new(&fold.lanes);
        let (reach, dying) = match &fold.keeping {
            Some(Keeping::Snapshot(draft)) => (settler.reach(draft.end), dying_after(&fold.lanes, draft.end)),
            _ => (settler.any_reach(), vec![None; fold.lanes.classes().len()]),
        };
        let groups = fold.counting.as_ref().map_or(0, |counting| counting.grouping.count);
        Self {
            fold,
            groups: GroupsOf::new(),
            counts: Counts::new(0, 0, groups),
            gather: Gather::default(),
            kept: Kept { reach, dying, records: None, entries: Vec::new(), ends: Vec::new() },
            dead: fold.counting.as_ref().map(|counting| settler.dead(counting.as_of)),
            settler,
            joins: Joins::default(),
            alive: Memberships::default(),
        }
    }

    fn fold(&mut self, window: &Window) -> Result<(), AirError> {
        self.learn();
        let keeping = self.fold.keeping.as_ref();
        if let Some(keeping) = keeping {
            self.kept.records.get_or_insert_with(|| keeping.draft().records());
        }
        let mut gather = std::mem::take(&mut self.gather);
        gather.each(window, self.fold.settled_sources, |user| {
            self.user(user);
            Ok::<(), AirError>(())
        })?;
        self.gather = gather;
        if let Some((keeping, records)) = keeping.zip(self.kept.records.take()) {
            self.kept.records = keeping.draft().write(window.number, records)?;
        }
        Ok(())
    }

    /// Makes room for names that were met since the last window.
    fn learn(&mut self) {
        let dictionary = &self.fold.dictionary;
        let [segments, sites, origins] = dictionary.sizes();
        if origins > self.settler.origins() {
            self.settler.learn(dictionary);
        }
        if let Some(counting) = &self.fold.counting {
            if segments > self.groups.segments() {
                counting.grouping.learn(&mut self.groups, dictionary);
            }
            self.counts.make_room(segments, sites);
        }
    }

    fn user(&mut self, user: Gathered<'_>) {
        let (settled, recent) = user.entries.split_at(user.first);
        self.alive.clear();
        if self.fold.keeping.is_some() {
            self.keep(user.id, settled);
        }
        let Some((counting, dead)) = self.fold.counting.as_ref().zip(self.dead.as_ref()) else { return };
        if !recent.is_empty() || self.fold.keeping.is_none() {
            self.settler.living(user.entries, dead, &mut self.joins, &mut self.alive);
        }
        // Else they were collected when the user was kept.
        self.counts.add_user(&self.alive, &self.groups, counting.order);
    }

    /// Writes what is kept of a user, and collects who of them is alive, as far as the days tell.
    fn keep(&mut self, id: &[u8], settled: &[Entry]) {
        let Self { settler, kept, dead, joins, alive, .. } = self;
        let Kept { reach, dying, records, entries, ends } = kept;
        entries.clear();
        ends.clear();
        settler.keep(settled, reach, joins, entries, |class, item, last| {
            if let Some((dead_ms, dead_later_ms)) = dying[usize::from(class)]
                && last.last_ms > dead_ms
                && last.last_ms <= dead_later_ms
            {
                ends.push((class, last.last_ms));
            }
            if let Some(dead) = dead {
                settler.add_living(class, item, last, dead, alive);
            }
        });
        settler.end_living(alive);
        if let Some(records) = records
            && !entries.is_empty()
        {
            records.push(id, entries);
            ends.iter().for_each(|&(class, last_ms)| records.expires(class, last_ms));
        }
    }
}

/// By class: the ends of the runs that die while the list of them is known of a snapshot that ends at `end`.
fn dying_after(lanes: &Lanes, end: Instant) -> Vec<Option<(i64, i64)>> {
    let dead = |class: &Class, at: Instant| class.life.last_dead_ms(at);
    let of = |class: &Class| dead(class, end).zip(dead(class, end + EXPIRY_KNOWN));
    lanes.classes().iter().map(of).collect()
}
