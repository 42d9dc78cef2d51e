//! The exact counts of a report: users alive, and users on each pair of site and segment, and of site and group.
//!
//! Counts of different users add up, and what was added can be taken away again: numbers are kept modulo 2³², and
//! are right whenever the true ones fit. Items are numbers of the dictionary.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::exec::Measure;
use crate::config::Order;
use crate::udb::{Living, Memberships};

/// Up to so many cells are kept as an array (64 MB); above, only those that are not zero.
const DENSE_CELLS: usize = 16 << 20;

/// Which groups each segment belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupsOf {
    /// The group of each segment that is in one; [`NO_GROUP`] or [`MANY_GROUPS`] of the others.
    only: Vec<u32>,
    ends: Vec<u32>,
    groups: Vec<u32>,
}

const NO_GROUP: u32 = u32::MAX;
const MANY_GROUPS: u32 = u32::MAX - 1;

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
    Dense(Dense),
    Sparse { columns: usize, cells: HashMap<u64, u32, BuildHasherDefault<MixHasher>> },
}

/// Cells of an array. What is added goes into few bytes at first, which stay near the processor.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    columns: usize,
    cells: Vec<u32>,
    /// To be added to the cells.
    small: Vec<u8>,
    /// By row: how many users were added to the small ones.
    users: Vec<u8>,
}

/// Whether a user's part is added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add = 1,
    Take = -1,
}

impl GroupsOf {
    /// No segments yet.
    pub(crate) fn new() -> Self {
        Self { only: Vec::new(), ends: vec![0], groups: Vec::new() }
    }

    /// Adds the next segment by its groups.
    pub(crate) fn push(&mut self, groups: &[u32]) {
        self.only.push(match groups {
            [] => NO_GROUP,
            [group] => *group,
            _ => MANY_GROUPS,
        });
        self.groups.extend_from_slice(groups);
        self.ends.push(u32::try_from(self.groups.len()).expect("fewer than four billion memberships of groups"));
    }

    /// Calls `each` with the groups of a segment.
    fn each(&self, segment: u32, mut each: impl FnMut(u32)) {
        match self.only[segment as usize] {
            NO_GROUP => {}
            MANY_GROUPS => self.of(segment as usize).iter().for_each(|&group| each(group)),
            group => each(group),
        }
    }

    fn of(&self, at: usize) -> &[u32] {
        &self.groups[self.ends[at] as usize..self.ends[at + 1] as usize]
    }

    pub(crate) fn segments(&self) -> usize {
        self.only.len()
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
    pub(crate) fn change(&mut self, alive: &Memberships, groups: &GroupsOf, order: Order, change: Change) {
        let Memberships { segments, sites } = alive;
        let step = change as i32 as u32;
        let add = |count: &mut u32| *count = count.wrapping_add(step);
        for &(segment, first_ms) in segments {
            add(&mut self.segment_users[segment as usize]);
            groups.each(segment, |group| {
                let first = &mut self.group_first[group as usize];
                if *first == i64::MAX {
                    self.user_groups.push((group, first_ms));
                }
                *first = (*first).min(first_ms.min(i64::MAX - 1));
            });
        }
        for (group, first_ms) in &mut self.user_groups {
            add(&mut self.group_users[*group as usize]);
            *first_ms = std::mem::replace(&mut self.group_first[*group as usize], i64::MAX);
        }
        for &(site, visited_ms) in sites {
            add(&mut self.site_users[site as usize]);
            // All first times are before the end of time.
            let before_ms = if order == Order::Any { i64::MAX } else { visited_ms };
            self.segment_site.change_row(site, change, segments, before_ms);
            self.group_site.change_row(site, change, &self.user_groups, before_ms);
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

    /// Makes room for as many, and for some more that may become known soon.
    pub(crate) fn make_room(&mut self, segments: usize, sites: usize) {
        let enough = |have: usize, want: usize| if have >= want { have } else { want + want / 2 + 16 };
        let [have_segments, have_sites, groups] = self.sizes();
        let (segments, sites) = (enough(have_segments, segments), enough(have_sites, sites));
        if (segments, sites) != (have_segments, have_sites) {
            *self = std::mem::replace(self, Self::new(0, 0, groups)).widen(segments, sites);
        }
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
            Some(cells) if cells <= DENSE_CELLS => {
                Self::Dense(Dense { columns, cells: vec![0; cells], small: vec![0; cells], users: vec![0; rows] })
            }
            _ => Self::Sparse { columns, cells: HashMap::default() },
        }
    }

    /// Adds or takes a user at the cells of a row whose first time is before `before_ms`.
    fn change_row(&mut self, row: u32, change: Change, firsts: &[Living], before_ms: i64) {
        if let (Self::Dense(dense), Change::Add) = (&mut *self, change) {
            return dense.add_user(row as usize, firsts, before_ms);
        }
        let counts = firsts.iter().filter(|(_, first_ms)| *first_ms < before_ms);
        counts.for_each(|&(column, _)| self.add(row, column, change as i32 as u32));
    }

    /// Adds to one cell.
    pub(crate) fn add(&mut self, row: u32, column: u32, users: u32) {
        let cell = match self {
            Self::Dense(dense) => &mut dense.cells[row as usize * dense.columns + column as usize],
            Self::Sparse { columns, cells } => {
                cells.entry(u64::from(row) * *columns as u64 + u64::from(column)).or_default()
            }
        };
        *cell = cell.wrapping_add(users);
    }

    pub(crate) fn get(&self, row: u32, column: u32) -> u32 {
        match self {
            Self::Dense(dense) => dense.get(row as usize * dense.columns + column as usize),
            Self::Sparse { columns, cells } => {
                cells.get(&(u64::from(row) * *columns as u64 + u64::from(column))).copied().unwrap_or(0)
            }
        }
    }

    /// Hands over every cell that is not zero, as row, column, number.
    pub(crate) fn each(&self, mut each: impl FnMut(u32, u32, u32)) {
        match self {
            Self::Dense(dense) => {
                let mut at = 0;
                for row in 0..dense.users.len() as u32 {
                    for column in 0..dense.columns as u32 {
                        let users = dense.get(at);
                        if users != 0 {
                            each(row, column, users);
                        }
                        at += 1;
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

impl Dense {
    fn add_user(&mut self, row: usize, firsts: &[Living], before_ms: i64) {
        if self.users[row] == u8::MAX {
            self.empty_row(row);
        }
        self.users[row] += 1;
        let small = &mut self.small[row * self.columns..][..self.columns];
        for &(column, first_ms) in firsts {
            // No branch: whether a visit came first is a toss-up for the processor.
            let cell = &mut small[column as usize];
            *cell = cell.wrapping_add(u8::from(first_ms < before_ms));
        }
    }

    fn empty_row(&mut self, row: usize) {
        let cells = row * self.columns..(row + 1) * self.columns;
        for (cell, small) in self.cells[cells.clone()].iter_mut().zip(&mut self.small[cells]) {
            *cell = cell.wrapping_add(u32::from(std::mem::take(small)));
        }
        self.users[row] = 0;
    }

    fn get(&self, at: usize) -> u32 {
        self.cells[at].wrapping_add(u32::from(self.small[at]))
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
        let mut groups = GroupsOf::new();
        [[0].as_slice(), &[0, 1], &[]].into_iter().for_each(|of| groups.push(of));
        groups
    }

    fn alive(segments: &[Living], sites: &[Living]) -> Memberships {
        Memberships { segments: segments.to_vec(), sites: sites.to_vec() }
    }

    #[test]
    fn strictly_before_and_distinct_in_a_group() {
        let mut counts = Counts::new(3, 2, 2);
        counts.change(&alive(&[(0, 5), (1, 10), (2, 1)], &[(0, 10), (1, 5)]), &groups(), Order::Before, Change::Add);
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
        counts.change(&alive(&[(1, 10)], &[(1, 5)]), &groups(), Order::Any, Change::Add);
        assert_eq!(counts.segment_site.get(1, 1), 1);
        assert_eq!(counts.group_users, [2, 2]);
    }

    #[test]
    fn what_was_added_can_be_taken_away_and_parts_add_up() {
        let mut counts = Counts::new(3, 2, 2);
        let user = alive(&[(0, 1), (1, 2)], &[(1, 3)]);
        counts.change(&user, &groups(), Order::Before, Change::Add);
        let mut sum = counts.clone().widen(9, 9);
        sum.absorb(&counts);
        assert_eq!((sum.segment_users[1], sum.segment_site.get(1, 0), sum.group_site.get(1, 1)), (2, 2, 2));
        counts.change(&user, &groups(), Order::Before, Change::Take);
        counts.segment_site.each(|_, _, _| panic!("all cells are zero again"));
        assert_eq!(counts.group_users, [0, 0]);
    }

    #[test]
    fn few_cells_of_many_are_kept_sparsely() {
        let mut cells = Cells::new(1 << 20, 1 << 20);
        assert!(matches!(cells, Cells::Sparse { .. }));
        cells.change_row(77, Change::Add, &[(5, 8), (1 << 19, 8), (6, 9)], 9);
        assert_eq!((cells.get(77, 5), cells.get(77, 1 << 19), cells.get(77, 6)), (1, 1, 0));
    }

    #[test]
    fn many_users_of_a_row_are_all_counted() {
        let mut cells = Cells::new(3, 4);
        for user in 0..1_000 {
            cells.change_row(1, Change::Add, &[(0, 1), (3, user % 2)], 1);
        }
        cells.change_row(1, Change::Take, &[(3, 0)], 1);
        let mut all = Vec::new();
        cells.each(|row, column, users| all.push((row, column, users)));
        assert_eq!(all, [(1, 3, 499)]);
        assert_eq!(cells.get(1, 3), 499);
    }
}
