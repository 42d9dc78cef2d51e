//! The exact counts of a report: users alive, and users on each pair of site and segment, and of site and group.
//!
//! Counts of different users add up, and what was added can be taken away again: numbers are kept modulo 2³², and
//! are right whenever the true ones fit. Items are numbers of the dictionary.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::exec::Measure;
use crate::config::Order;
use crate::udb::Living;

/// Up to so many cells are kept as an array (64 MB); above, only those that are not zero.
const DENSE_CELLS: usize = 16 << 20;

/// Which groups each segment belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupsOf {
    ends: Vec<u32>,
    groups: Vec<u32>,
    count: usize,
}

/// The counts.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// |s|.
    pub(crate) segment_users: Vec<u32>,
    /// |S_g|.
    pub(crate) group_users: Vec<u32>,
    /// Users alive on the site.
    pub(crate) site_users: Vec<u32>,
    /// |s∩p|, at (site, segment).
    pub(crate) segment_site: Cells,
    /// |S_g∩p|, at (site, group).
    pub(crate) group_site: Cells,
    /// The earliest first time in each group, while one user is counted.
    group_first: Vec<i64>,
    user_groups: Vec<Living>,
}

/// Numbers at (row, column), most of them zero.
#[derive(Clone, Debug)]
pub(crate) enum Cells {
    Dense { columns: usize, cells: Vec<u32> },
    Sparse { columns: usize, cells: HashMap<u64, u32, BuildHasherDefault<MixHasher>> },
}

/// Whether a user's part is added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add = 1,
    Take = -1,
}

impl GroupsOf {
    /// The groups of each segment in turn; `count` groups in all.
    pub(crate) fn new(segments: impl IntoIterator<Item = Vec<u32>>, count: usize) -> Self {
        let (mut ends, mut groups) = (vec![0], Vec::new());
        for segment in segments {
            groups.extend(segment);
            ends.push(u32::try_from(groups.len()).expect("fewer than four billion memberships of groups"));
        }
        Self { ends, groups, count }
    }

    /// The groups of a segment.
    pub(crate) fn of(&self, segment: u32) -> &[u32] {
        let at = segment as usize;
        &self.groups[self.ends[at] as usize..self.ends[at + 1] as usize]
    }

    pub(crate) fn segments(&self) -> usize {
        self.ends.len() - 1
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Counts {
    pub(crate) fn new(segments: usize, sites: usize, groups: usize) -> Self {
        Self {
            segment_users: vec![0; segments],
            group_users: vec![0; groups],
            site_users: vec![0; sites],
            segment_site: Cells::new(sites, segments),
            group_site: Cells::new(sites, groups),
            group_first: vec![i64::MAX; groups],
            user_groups: Vec::new(),
        }
    }

    /// Adds (or takes away) one user's living memberships.
    pub(crate) fn change(
        &mut self,
        segments: &[Living],
        sites: &[Living],
        groups: &GroupsOf,
        order: Order,
        change: Change,
    ) {
        let step = change as i32 as u32;
        let add = |count: &mut u32| *count = count.wrapping_add(step);
        for &(segment, first_ms) in segments {
            add(&mut self.segment_users[segment as usize]);
            for &group in groups.of(segment) {
                let first = &mut self.group_first[group as usize];
                if *first == i64::MAX {
                    self.user_groups.push((group, first_ms));
                }
                *first = (*first).min(first_ms.min(i64::MAX - 1));
            }
        }
        for (group, first_ms) in &mut self.user_groups {
            add(&mut self.group_users[*group as usize]);
            *first_ms = std::mem::replace(&mut self.group_first[*group as usize], i64::MAX);
        }
        for &(site, visited_ms) in sites {
            add(&mut self.site_users[site as usize]);
            // All first times are before the end of time.
            let before_ms = if order == Order::Any { i64::MAX } else { visited_ms };
            self.segment_site.add_row(site, step, segments, before_ms);
            self.group_site.add_row(site, step, &self.user_groups, before_ms);
        }
        self.user_groups.clear();
    }

    /// How many segments, sites and groups there is room for.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.segment_users.len(), self.site_users.len(), self.group_users.len()]
    }

    /// Makes room for items that became known since.
    pub(crate) fn widen(self, segments: usize, sites: usize) -> Self {
        if self.segment_users.len() >= segments && self.site_users.len() >= sites {
            return self;
        }
        let mut wider = Self::new(segments, sites, self.group_users.len());
        wider.absorb(&self);
        wider
    }

    /// Adds the counts of other users.
    pub(crate) fn absorb(&mut self, other: &Self) {
        other.each(|measure, row, column, users| self.add(measure, row, column, users));
    }

    /// Hands over every number that is not zero; what has no columns is in column 0.
    pub(crate) fn each(&self, mut each: impl FnMut(Measure, u32, u32, u32)) {
        let lists = [
            (Measure::SegmentUsers, &self.segment_users),
            (Measure::GroupUsers, &self.group_users),
            (Measure::SiteUsers, &self.site_users),
        ];
        for (measure, list) in lists {
            for (row, &users) in (0..).zip(list).filter(|(_, users)| **users != 0) {
                each(measure, row, 0, users);
            }
        }
        self.segment_site.each(|site, segment, users| each(Measure::SegmentSite, site, segment, users));
        self.group_site.each(|site, group, users| each(Measure::GroupSite, site, group, users));
    }

    /// Adds to one number.
    pub(crate) fn add(&mut self, measure: Measure, row: u32, column: u32, users: u32) {
        let list = match measure {
            Measure::SegmentUsers => &mut self.segment_users,
            Measure::GroupUsers => &mut self.group_users,
            Measure::SiteUsers => &mut self.site_users,
            Measure::SegmentSite => return self.segment_site.add(row, column, users),
            Measure::GroupSite => return self.group_site.add(row, column, users),
        };
        list[row as usize] = list[row as usize].wrapping_add(users);
    }
}

impl Cells {
    fn new(rows: usize, columns: usize) -> Self {
        match rows.checked_mul(columns) {
            Some(cells) if cells <= DENSE_CELLS => Self::Dense { columns, cells: vec![0; cells] },
            _ => Self::Sparse { columns, cells: HashMap::default() },
        }
    }

    /// Adds `step` to the cells of a row whose first time is before `before_ms`.
    fn add_row(&mut self, row: u32, step: u32, firsts: &[Living], before_ms: i64) {
        match self {
            Self::Dense { columns, cells } => {
                let row = &mut cells[row as usize * *columns..][..*columns];
                for &(column, first_ms) in firsts {
                    // No branch: whether a visit came first is a toss-up for the processor.
                    let cell = &mut row[column as usize];
                    *cell = cell.wrapping_add(if first_ms < before_ms { step } else { 0 });
                }
            }
            Self::Sparse { .. } => {
                let counts = firsts.iter().filter(|(_, first_ms)| *first_ms < before_ms);
                counts.for_each(|&(column, _)| self.add(row, column, step));
            }
        }
    }

    /// Adds to one cell.
    pub(crate) fn add(&mut self, row: u32, column: u32, users: u32) {
        match self {
            Self::Dense { columns, cells } => {
                let cell = &mut cells[row as usize * *columns + column as usize];
                *cell = cell.wrapping_add(users);
            }
            Self::Sparse { columns, cells } => {
                let cell = cells.entry(u64::from(row) * *columns as u64 + u64::from(column)).or_default();
                *cell = cell.wrapping_add(users);
            }
        }
    }

    pub(crate) fn get(&self, row: u32, column: u32) -> u32 {
        match self {
            Self::Dense { columns, cells } => cells[row as usize * *columns + column as usize],
            Self::Sparse { columns, cells } => {
                cells.get(&(u64::from(row) * *columns as u64 + u64::from(column))).copied().unwrap_or(0)
            }
        }
    }

    /// Hands over every cell that is not zero, as row, column, number.
    pub(crate) fn each(&self, mut each: impl FnMut(u32, u32, u32)) {
        match self {
            Self::Dense { columns: 0, .. } => {}
            Self::Dense { columns, cells } => {
                for (row, cells) in (0..).zip(cells.chunks_exact(*columns)) {
                    for (column, &users) in (0..).zip(cells) {
                        if users != 0 {
                            each(row, column, users);
                        }
                    }
                }
            }
            Self::Sparse { columns, cells } => {
                let columns = *columns as u64;
                for (&cell, &users) in cells.iter().filter(|(_, users)| **users != 0) {
                    each((cell / columns) as u32, (cell % columns) as u32, users);
                }
            }
        }
    }
}

/// Mixes the number of a cell; the standard hasher is made against attackers, who do not choose these numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments 0 and 1 are in group 0, 1 in group 1 too, 2 in none.
    fn groups() -> GroupsOf {
        GroupsOf::new([vec![0], vec![0, 1], vec![]], 2)
    }

    #[test]
    fn strictly_before_and_distinct_in_a_group() {
        let mut counts = Counts::new(3, 2, 2);
        counts.change(&[(0, 5), (1, 10), (2, 1)], &[(0, 10), (1, 5)], &groups(), Order::Before, Change::Add);
        assert_eq!(counts.segment_users, [1, 1, 1]);
        assert_eq!(counts.group_users, [1, 1]);
        assert_eq!(counts.site_users, [1, 1]);
        let cells = |cells: &Cells| {
            let mut all = Vec::new();
            cells.each(|row, column, users| all.push((row, column, users)));
            all
        };
        assert_eq!(cells(&counts.segment_site), [(0, 0, 1), (0, 2, 1), (1, 2, 1)]);
        assert_eq!(cells(&counts.group_site), [(0, 0, 1)]);
        counts.change(&[(1, 10)], &[(1, 5)], &groups(), Order::Any, Change::Add);
        assert_eq!(counts.segment_site.get(1, 1), 1);
        assert_eq!(counts.group_users, [2, 2]);
    }

    #[test]
    fn what_was_added_can_be_taken_away_and_parts_add_up() {
        let mut counts = Counts::new(3, 2, 2);
        let user = ([(0, 1), (1, 2)], [(1, 3)]);
        counts.change(&user.0, &user.1, &groups(), Order::Before, Change::Add);
        let mut sum = counts.clone().widen(9, 9);
        sum.absorb(&counts);
        assert_eq!((sum.segment_users[1], sum.segment_site.get(1, 0), sum.group_site.get(1, 1)), (2, 2, 2));
        counts.change(&user.0, &user.1, &groups(), Order::Before, Change::Take);
        counts.segment_site.each(|_, _, _| panic!("all cells are zero again"));
        assert_eq!(counts.group_users, [0, 0]);
    }

    #[test]
    fn few_cells_of_many_are_kept_sparsely() {
        let mut cells = Cells::new(1 << 20, 1 << 20);
        assert!(matches!(cells, Cells::Sparse { .. }));
        cells.add_row(77, 2, &[(5, 8), (1 << 19, 8), (6, 9)], 9);
        assert_eq!((cells.get(77, 5), cells.get(77, 1 << 19), cells.get(77, 6)), (2, 2, 0));
    }
}
