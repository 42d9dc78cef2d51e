//! What a user's intervals come to: runs to keep in a snapshot, and memberships alive as of an instant.

use neartime_model::Instant;

use super::lanes::{Class, Lanes};
use super::record::Entry;
use crate::config::Side;
use crate::runs::{Life, Run, first_run};

/// Joins intervals by the rules of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settler {
    classes: Vec<Class>,
    /// The class of each origin of the dictionary.
    class_of: Vec<u8>,
}

/// When the runs of each class ended that are no longer alive as of an instant.
#[derive(Clone, Debug)]
pub(crate) struct Dead(Vec<Option<i64>>);

/// How early a row of each class may begin that belongs to a chunk after a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Reach(Vec<i64>);

/// Room to bring one user's entries into order.
#[derive(Debug, Default)]
pub(crate) struct ByItem {
    /// Class, item and place of each entry, packed: numbers are sorted much faster than entries.
    keys: Vec<u64>,
    /// The entries of one class and item.
    item: Vec<Entry>,
}

/// Beside 8 bits of class and 32 of item.
const PLACE_BITS: u32 = 24;

/// A membership that is alive: the item's number, and when its last run began.
pub(crate) type Living = (u32, i64);

impl Settler {
    /// `lane_of` is the lane of each origin of the dictionary.
    pub(crate) fn new(lanes: &Lanes, lane_of: impl IntoIterator<Item = u8>) -> Self {
        // An origin of no lane cannot occur in files of this configuration's fingerprint.
        let class_of = lane_of.into_iter().map(|lane| lanes.lane(lane).map_or(0, |lane| lane.class)).collect();
        Self { classes: lanes.classes().to_vec(), class_of }
    }

    /// What is dead as of an instant.
    pub(crate) fn dead(&self, as_of: Instant) -> Dead {
        Dead(self.classes.iter().map(|class| class.life.last_dead_ms(as_of)).collect())
    }

    /// How early rows of chunks that begin at `end` or later may begin. Rounded down to the millisecond: a run too many
    /// costs little.
    pub(crate) fn reach(&self, end: Instant) -> Reach {
        Reach(self.classes.iter().map(|class| (end - class.max_behind).as_millis()).collect())
    }

    /// Joins a user's intervals into runs and appends those that a snapshot must keep, in order of class, item, time.
    /// `last` is told each class's and item's last run, kept or not.
    ///
    /// A run is left out when no row that may still come (a chunk's rows lie at most `max_behind` before its start)
    /// could join it to a living one. Runs of several origins that form one run live and die together: one of them
    /// may be the bridge between the others.
    pub(crate) fn keep(
        &self,
        entries: &[Entry],
        reach: &Reach,
        by_item: &mut ByItem,
        kept: &mut Vec<Entry>,
        mut last: impl FnMut(u8, u32, Run),
    ) {
        self.items(entries, by_item, |number, name, mut rest| {
            let life = self.classes[usize::from(number)].life;
            let reach_ms = reach.0[usize::from(number)];
            loop {
                let (length, run) = first_run(rest, |entry| entry.run, life);
                let (joined, after) = rest.split_at_mut(length);
                rest = after;
                if life.joins(run.last_ms, reach_ms) {
                    keep_by_origin(joined, run, life, kept);
                }
                if rest.is_empty() {
                    last(number, name, run);
                    break;
                }
            }
        });
    }

    /// Collects the memberships that are not `dead`, by side: items in rising order, each once.
    pub(crate) fn living(
        &self,
        entries: &[Entry],
        dead: &Dead,
        by_item: &mut ByItem,
        segments: &mut Vec<Living>,
        sites: &mut Vec<Living>,
    ) {
        segments.clear();
        sites.clear();
        self.items(entries, by_item, |number, name, item| {
            let last = last_run(item, self.classes[usize::from(number)].life);
            self.add_living(number, name, last, dead, segments, sites);
        });
        self.end_living(segments, sites);
    }

    /// Adds an item by its last run, if that is not `dead`.
    pub(crate) fn add_living(
        &self,
        class: u8,
        item: u32,
        last: Run,
        dead: &Dead,
        segments: &mut Vec<Living>,
        sites: &mut Vec<Living>,
    ) {
        if dead.0[usize::from(class)].is_none_or(|dead_ms| last.last_ms > dead_ms) {
            let is_segment = self.classes[usize::from(class)].side == Side::Segment;
            let living = if is_segment { segments } else { sites };
            living.push((item, last.first_ms));
        }
    }

    /// Brings together what the classes of a side added.
    pub(crate) fn end_living(&self, segments: &mut Vec<Living>, sites: &mut Vec<Living>) {
        for (side, living) in [(Side::Segment, segments), (Side::Site, sites)] {
            if self.classes.iter().filter(|class| class.side == side).count() > 1 {
                // Alive in either class is alive; the earlier first time counts.
                living.sort_unstable();
                living.dedup_by_key(|(item, _)| *item);
            }
        }
    }

    /// Hands over a user's entries by class and item, in rising order, those of each in order of time.
    fn items(&self, entries: &[Entry], by_item: &mut ByItem, mut each: impl FnMut(u8, u32, &mut [Entry])) {
        let ByItem { keys, item } = by_item;
        if entries.len() > 1 << PLACE_BITS {
            return self.items_of_many(entries, each);
        }
        keys.clear();
        keys.extend((0_u64..).zip(entries).map(|(place, entry)| {
            let class = self.class_of[entry.origin as usize];
            u64::from(class) << (32 + PLACE_BITS) | u64::from(entry.item) << PLACE_BITS | place
        }));
        keys.sort_unstable();
        for same in keys.chunk_by(|left, right| left >> PLACE_BITS == right >> PLACE_BITS) {
            item.clear();
            item.extend(same.iter().map(|key| entries[(key & ((1 << PLACE_BITS) - 1)) as usize]));
            if item.len() > 1 {
                item.sort_unstable_by_key(|entry| entry.run.first_ms);
            }
            let key = same[0] >> PLACE_BITS;
            each((key >> 32) as u8, key as u32, item);
        }
    }

    /// The same for a user whose entries cannot be numbered beside their keys.
    fn items_of_many(&self, entries: &[Entry], mut each: impl FnMut(u8, u32, &mut [Entry])) {
        let key = |entry: &Entry| (self.class_of[entry.origin as usize], entry.item);
        let mut all = entries.to_vec();
        all.sort_unstable_by_key(|entry| (key(entry), entry.run.first_ms));
        for item in all.chunk_by_mut(|left, right| key(left) == key(right)) {
            let (class, name) = key(&item[0]);
            each(class, name, item);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_by_class_item_and_time_however_they_are_sorted() {
        let mut random = fastrand::Rng::with_seed(7);
        let settler = Settler { classes: Vec::new(), class_of: vec![1, 0, 1, 200] };
        let items = [0, 1, 9, u32::MAX];
        for count in [0, 1, 2, 40, 3_000] {
            let entry = |_| {
                let first_ms = random.i64(-50..50);
                let run = Run { first_ms, last_ms: first_ms + 1 };
                Entry { origin: random.u32(0..4), item: items[random.usize(0..4)], run }
            };
            let entries: Vec<Entry> = (0..count).map(entry).collect();
            let mut found = [Vec::new(), Vec::new()];
            let [few, many] = &mut found;
            let times = |item: &[Entry]| item.iter().map(|entry| entry.run.first_ms).collect::<Vec<_>>();
            settler.items(&entries, &mut ByItem::default(), |class, name, item| few.push((class, name, times(item))));
            settler.items_of_many(&entries, |class, name, item| many.push((class, name, times(item))));
            assert_eq!(few, many);
            assert!(few.is_sorted() && few.iter().all(|(_, _, times)| times.is_sorted()));
            assert_eq!(few.iter().map(|(_, _, times)| times.len()).sum::<usize>(), count);
        }
    }
}
