//! What a user's intervals come to: runs to keep in a snapshot, and memberships alive as of an instant.

use neartime_model::{Instant, Span};

use super::dictionary::Dictionary;
use super::joins::Joins;
use super::lanes::Lanes;
use super::record::Entry;
use crate::config::Side;
use crate::runs::{Life, Run, first_run};

/// Joins intervals by the rules of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settler {
    lanes: Lanes,
    /// The class of each origin of the dictionary.
    class_of: Vec<u8>,
}

/// When the runs of each class ended that are no longer alive as of an instant.
#[derive(Clone, Debug)]
pub(crate) struct Dead(Vec<Option<i64>>);

/// How early a row of each class may begin that is yet to come.
#[derive(Clone, Debug)]
pub(crate) struct Reach(Vec<i64>);

/// Nothing is out of reach of it.
const ANY_REACH_MS: i64 = i64::MIN;

/// A membership that is alive: the item's number, and when its last run began.
pub(crate) type Living = (u32, i64);

/// A user's living memberships: items in any order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memberships {
    pub(crate) segments: Vec<Living>,
    pub(crate) sites: Vec<Living>,
}

impl Settler {
    /// Knows no origins yet.
    pub(crate) fn new(lanes: &Lanes) -> Self {
        Self { lanes: lanes.clone(), class_of: Vec::new() }
    }

    /// Learns the origins that the dictionary has got since.
    pub(crate) fn learn(&mut self, dictionary: &Dictionary) {
        // An origin of no lane cannot occur in files of this configuration's fingerprint.
        let class = |lane: u8| self.lanes.lane(lane).map_or(0, |lane| lane.class);
        let new: Vec<u8> = dictionary.lanes_from(self.class_of.len()).into_iter().map(class).collect();
        self.class_of.extend(new);
    }

    /// How many origins it knows.
    pub(crate) fn origins(&self) -> usize {
        self.class_of.len()
    }

    /// What is dead as of an instant.
    pub(crate) fn dead(&self, as_of: Instant) -> Dead {
        Dead(self.lanes.classes().iter().map(|class| class.life.last_dead_ms(as_of)).collect())
    }

    /// How early rows of chunks that begin at `end` or later may begin. Rounded down to the millisecond: a run too many
    /// costs little.
    pub(crate) fn reach(&self, end: Instant) -> Reach {
        let reach = |behind: Span| (end - behind).as_millis();
        Reach(self.lanes.classes().iter().map(|class| class.max_behind.map_or(ANY_REACH_MS, reach)).collect())
    }

    /// For entries that are to be merged with any others: none is out of reach.
    pub(crate) fn any_reach(&self) -> Reach {
        Reach(vec![ANY_REACH_MS; self.lanes.classes().len()])
    }

    /// Joins a user's intervals into runs and appends those that a snapshot must keep; those of one item in order of
    /// time. `last` is told each class's and item's last run, kept or not.
    ///
    /// A run is left out when no row that may still come (a chunk's rows lie at most `max_behind` before its start)
    /// could join it to a living one; where nothing is known of how early rows may lie, none is. Runs of several origins
    /// that form one run live and die together: one of them may be the bridge between the others.
    pub(crate) fn keep(
        &self,
        entries: &[Entry],
        reach: &Reach,
        joins: &mut Joins,
        kept: &mut Vec<Entry>,
        mut last: impl FnMut(u8, u32, Run),
    ) {
        let classes = self.lanes.classes();
        let in_reach = |class: u8, run: Run| {
            let life = classes[usize::from(class)].life;
            life.joins(run.last_ms, reach.0[usize::from(class)])
        };
        let before = kept.len();
        let simple = joins.join(entries, &self.class_of, classes, |class, entry| {
            if in_reach(class, entry.run) {
                kept.push(entry);
            }
        });
        if simple {
            for (class, entry) in joins.last_runs() {
                if in_reach(class, entry.run) {
                    kept.push(entry);
                }
                last(class, entry.item, entry.run);
            }
            return;
        }
        kept.truncate(before);
        joins.each_item(entries, &self.class_of, |class, name, mut rest| {
            let life = classes[usize::from(class)].life;
            loop {
                let (length, run) = first_run(rest, |entry| entry.run, life);
                let (joined, after) = rest.split_at_mut(length);
                rest = after;
                if in_reach(class, run) {
                    keep_by_origin(joined, run, life, kept);
                }
                if rest.is_empty() {
                    last(class, name, run);
                    break;
                }
            }
        });
    }

    /// Collects the memberships that are not `dead`.
    pub(crate) fn living(&self, entries: &[Entry], dead: &Dead, joins: &mut Joins, alive: &mut Memberships) {
        alive.clear();
        let classes = self.lanes.classes();
        if joins.join(entries, &self.class_of, classes, |_, _| {}) {
            joins.last_runs().for_each(|(class, entry)| self.add_living(class, entry.item, entry.run, dead, alive));
        } else {
            joins.each_item(entries, &self.class_of, |class, name, item| {
                let last = last_run(item, classes[usize::from(class)].life);
                self.add_living(class, name, last, dead, alive);
            });
        }
        self.end_living(alive);
    }

    /// Adds an item by its last run, if that is not `dead`.
    pub(crate) fn add_living(&self, class: u8, item: u32, last: Run, dead: &Dead, alive: &mut Memberships) {
        if dead.0[usize::from(class)].is_none_or(|dead_ms| last.last_ms > dead_ms) {
            let is_segment = self.lanes.classes()[usize::from(class)].side == Side::Segment;
            let side = if is_segment { &mut alive.segments } else { &mut alive.sites };
            side.push((item, last.first_ms));
        }
    }

    /// Brings together what the classes of a side added.
    pub(crate) fn end_living(&self, alive: &mut Memberships) {
        for (side, living) in [(Side::Segment, &mut alive.segments), (Side::Site, &mut alive.sites)] {
            if self.lanes.classes().iter().filter(|class| class.side == side).count() > 1 {
                // Memberships in either class is alive; the earlier first time counts.
                living.sort_unstable();
                living.dedup_by_key(|(item, _)| *item);
            }
        }
    }
}

impl Memberships {
    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.sites.clear();
    }

    /// Puts the items in order, so that equal memberships compare as equal.
    pub(crate) fn sort(&mut self) {
        self.segments.sort_unstable();
        self.sites.sort_unstable();
    }
}

/// The last run of intervals in order of time.
fn last_run(mut entries: &[Entry], life: Life) -> Run {
    loop {
        let (length, run) = first_run(entries, |entry| entry.run, life);
        entries = &entries[length..];
        if entries.is_empty() {
            return run;
        }
    }
}

/// The part of each origin in a run of several, as runs of its own.
fn keep_by_origin(joined: &mut [Entry], run: Run, life: Life, kept: &mut Vec<Entry>) {
    let first = joined[0];
    if joined.iter().all(|entry| entry.origin == first.origin) {
        kept.push(Entry { run, ..first });
        return;
    }
    joined.sort_unstable_by_key(|entry| (entry.origin, entry.run.first_ms));
    for origin in joined.chunk_by(|left, right| left.origin == right.origin) {
        let mut rest = origin;
        while !rest.is_empty() {
            let (length, run) = first_run(rest, |entry| entry.run, life);
            kept.push(Entry { run, ..rest[0] });
            rest = &rest[length..];
        }
    }
}
