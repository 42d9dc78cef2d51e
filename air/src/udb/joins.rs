//! Brings one user's entries together by class and item.
//!
//! Nearly always a user's entries of an item come in order of time and from one origin: then each only needs to be
//! compared with the run that it may go on, found in a table by the item's number. Otherwise they are sorted.

use super::lanes::Class;
use super::record::Entry;

/// Room for one user's entries, used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    /// By item and class: for which user it was last set, and the place of its run.
    table: Vec<Slot>,
    user: u32,
    /// The last runs of the present user's items.
    last: Vec<Last>,
    /// Class, item and place of each entry, packed: numbers are sorted much faster than entries.
    keys: Vec<u64>,
    /// The entries of one class and item.
    item: Vec<Entry>,
}

/// The last run of an item so far. All of its words are written: what has gaps is put together on the stack, and then
/// waited for.
#[derive(Clone, Copy, Debug)]
struct Last {
    run: Entry,
    class: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    user: u32,
    place: u32,
}

/// Beside 8 bits of class and 32 of item.
const PLACE_BITS: u32 = 24;

/// Items of higher numbers are not looked up in a table (64 MB) but sorted.
const TABLE_SLOTS: usize = 8 << 20;

impl Joins {
    /// Joins entries in the order given; `ended` is told the runs that are not their item's last, in order of time.
    /// False if they must be sorted first: what `ended` was told is void then.
    pub(super) fn join(
        &mut self,
        entries: &[Entry],
        class_of: &[u8],
        classes: &[Class],
        mut ended: impl FnMut(u8, Entry),
    ) -> bool {
        self.last.clear();
        self.next_user();
        for entry in entries {
            let class = class_of[entry.origin as usize];
            let at = entry.item as usize * classes.len() + usize::from(class);
            if at >= self.table.len() && !self.grow(at) {
                return false;
            }
            let slot = &mut self.table[at];
            if slot.user != self.user {
                *slot = Slot { user: self.user, place: self.last.len() as u32 };
                self.last.push(Last { run: *entry, class: class.into() });
                continue;
            }
            let last = &mut self.last[slot.place as usize].run;
            if last.origin != entry.origin || entry.run.first_ms < last.run.first_ms {
                return false;
            }
            if classes[usize::from(class)].life.joins(last.run.last_ms, entry.run.first_ms) {
                last.run.last_ms = last.run.last_ms.max(entry.run.last_ms);
            } else {
                ended(class, std::mem::replace(last, *entry));
            }
        }
        true
    }

    /// The last run of each class and item, if `join` could tell.
    pub(super) fn last_runs(&self) -> impl Iterator<Item = (u8, Entry)> {
        self.last.iter().map(|last| (last.class as u8, last.run))
    }

    /// Hands over a user's entries by class and item, in rising order, those of each in order of time.
    pub(super) fn each_item(
        &mut self,
        entries: &[Entry],
        class_of: &[u8],
        mut each: impl FnMut(u8, u32, &mut [Entry]),
    ) {
        if entries.len() > 1 << PLACE_BITS {
            return each_of_many(entries, class_of, each);
        }
        let Self { keys, item, .. } = self;
        keys.clear();
        keys.extend((0_u64..).zip(entries).map(|(place, entry)| {
            let class = class_of[entry.origin as usize];
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

    /// Forgets the last user's slots without touching them.
    fn next_user(&mut self) {
        self.user = self.user.wrapping_add(1);
        if self.user == 0 {
            self.table.fill(Slot::default());
            self.user = 1;
        }
    }

    #[cold]
    fn grow(&mut self, at: usize) -> bool {
        if at >= TABLE_SLOTS {
            return false;
        }
        self.table.resize((at + 1).next_power_of_two().max(1 << 10), Slot::default());
        true
    }
}

/// The same for a user whose entries cannot be numbered beside their keys.
fn each_of_many(entries: &[Entry], class_of: &[u8], mut each: impl FnMut(u8, u32, &mut [Entry])) {
    let key = |entry: &Entry| (class_of[entry.origin as usize], entry.item);
    let mut all = entries.to_vec();
    all.sort_unstable_by_key(|entry| (key(entry), entry.run.first_ms));
    for item in all.chunk_by_mut(|left, right| key(left) == key(right)) {
        let (class, name) = key(&item[0]);
        each(class, name, item);
    }
}

#[cfg(test)]
mod tests {
    use neartime_model::Span;

    use super::*;
    use crate::config::Side;
    use crate::runs::{Alive, Life, Run, first_run};

    const CLASS_OF: [u8; 4] = [1, 0, 1, 2];

    fn random(random: &mut fastrand::Rng, count: usize, sorted: bool) -> Vec<Entry> {
        let items = [0, 1, 9, 300, u32::MAX];
        let entry = |_| {
            let first_ms = random.i64(-50..50);
            let run = Run { first_ms, last_ms: first_ms + random.i64(0..5) };
            Entry { origin: random.u32(0..4), item: items[random.usize(0..if sorted { 4 } else { 5 })], run }
        };
        let mut entries: Vec<Entry> = (0..count).map(entry).collect();
        if sorted {
            entries.sort_by_key(|entry| entry.run.first_ms);
            entries.iter_mut().filter(|entry| entry.origin == 2).for_each(|entry| entry.origin = 0);
        }
        entries
    }

    #[test]
    fn entries_come_by_class_item_and_time_however_they_are_sorted() {
        let mut rng = fastrand::Rng::with_seed(7);
        for count in [0, 1, 2, 40, 3_000] {
            let entries = random(&mut rng, count, false);
            let mut found = [Vec::new(), Vec::new()];
            let [few, many] = &mut found;
            let times = |item: &[Entry]| item.iter().map(|entry| entry.run.first_ms).collect::<Vec<_>>();
            let mut joins = Joins::default();
            joins.each_item(&entries, &CLASS_OF, |class, name, item| few.push((class, name, times(item))));
            each_of_many(&entries, &CLASS_OF, |class, name, item| many.push((class, name, times(item))));
            assert_eq!(few, many);
            assert!(few.is_sorted() && few.iter().all(|(_, _, times)| times.is_sorted()));
            assert_eq!(few.iter().map(|(_, _, times)| times.len()).sum::<usize>(), count);
        }
    }

    #[test]
    fn joined_in_order_is_as_joined_after_sorting() {
        let mut rng = fastrand::Rng::with_seed(8);
        let life = Life::from(Alive::For(Span::from_micros(2_000)));
        let class = Class { side: Side::Site, life, max_behind: Some(Span::from_days(1)) };
        let (mut joins, mut simple) = (Joins::default(), 0);
        for _ in 0..3_000 {
            let count = rng.usize(0..60);
            let ordered = rng.u8(0..8) > 0;
            let entries = random(&mut rng, count, ordered);
            let mut found = Vec::new();
            if !joins.join(&entries, &CLASS_OF, &[class; 3], |class, entry| found.push((class, entry.item, entry.run)))
            {
                continue;
            }
            simple += 1;
            found.extend(joins.last_runs().map(|(class, entry)| (class, entry.item, entry.run)));
            found.sort_unstable();
            let mut expected = Vec::new();
            joins.each_item(&entries, &CLASS_OF, |class, name, mut rest| {
                while !rest.is_empty() {
                    let (length, run) = first_run(rest, |entry| entry.run, life);
                    expected.push((class, name, run));
                    rest = &mut rest[length..];
                }
            });
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
        assert!(simple > 2_000, "only {simple} could be joined in order");
    }
}
