//! The exact counts of a report: users alive, and users on each pair of site and segment, and of site and group.
//!
//! Counts of different users add up, and what was added can be taken away again: numbers are kept modulo 2³², and
//! are right whenever the true ones fit. Items are numbers of the dictionary.

use std::cmp::Ordering;

use super::cells::{Cells, Change};
use super::exec::Measure;
use crate::config::Order;
use crate::udb::{Living, Memberships};

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

    /// Adds one user's living memberships.
    pub(crate) fn add_user(&mut self, alive: &Memberships, groups: &GroupsOf, order: Order) {
        let mut of_groups = std::mem::take(&mut self.user_groups);
        self.find_groups(&alive.segments, groups, &mut of_groups);
        alive.segments.iter().for_each(|(segment, _)| Change::Add.apply(&mut self.segment_users[*segment as usize]));
        of_groups.iter().for_each(|(group, _)| Change::Add.apply(&mut self.group_users[*group as usize]));
        for site in &alive.sites {
            Change::Add.apply(&mut self.site_users[site.0 as usize]);
            self.change_rows(*site, Change::Add, &alive.segments, &of_groups, order);
        }
        self.user_groups = of_groups;
    }

    /// Counts one user by what is alive now instead of what was before, both in order: touches only what differs.
    pub(crate) fn move_user(&mut self, before: &Memberships, after: &Memberships, groups: &GroupsOf, order: Order) {
        let [mut groups_before, mut groups_after] = [Vec::new(), Vec::new()];
        for (alive, of_groups) in [(before, &mut groups_before), (after, &mut groups_after)] {
            self.find_groups(&alive.segments, groups, of_groups);
            of_groups.sort_unstable();
        }
        let segments = differing(&before.segments, &after.segments);
        let of_groups = differing(&groups_before, &groups_after);
        let sites = differing(&before.sites, &after.sites);
        let lists =
            [(&segments, &mut self.segment_users), (&of_groups, &mut self.group_users), (&sites, &mut self.site_users)];
        for (items, users) in lists {
            for (items, change) in items.iter().zip([Change::Take, Change::Add]) {
                items.iter().for_each(|(item, _)| change.apply(&mut users[*item as usize]));
            }
        }
        let [sites_gone, sites_new] = &sites;
        for site in &before.sites {
            if sites_gone.binary_search(site).is_ok() {
                self.change_rows(*site, Change::Take, &before.segments, &groups_before, order);
            } else {
                self.change_rows(*site, Change::Take, &segments[0], &of_groups[0], order);
                self.change_rows(*site, Change::Add, &segments[1], &of_groups[1], order);
            }
        }
        for site in sites_new {
            self.change_rows(*site, Change::Add, &after.segments, &groups_after, order);
        }
    }

    /// Finds the groups of some segments, and the earliest first time in each.
    fn find_groups(&mut self, segments: &[Living], groups: &GroupsOf, found: &mut Vec<Living>) {
        // One more than there are groups: what is written behind the last one found is void.
        found.clear();
        found.resize(self.group_first.len() + 1, (0, 0));
        let mut count = 0;
        for &(segment, first_ms) in segments {
            groups.each(segment, |group| {
                let first = &mut self.group_first[group as usize];
                // No branch: whether the group is a new one is a toss-up for the processor.
                found[count] = (group, 0);
                count += usize::from(*first == i64::MAX);
                *first = (*first).min(first_ms.min(i64::MAX - 1));
            });
        }
        found.truncate(count);
        for (group, first_ms) in found {
            *first_ms = std::mem::replace(&mut self.group_first[*group as usize], i64::MAX);
        }
    }

    /// Adds or takes a user at a site's pairs.
    fn change_rows(
        &mut self,
        (site, visited_ms): Living,
        change: Change,
        segments: &[Living],
        groups: &[Living],
        order: Order,
    ) {
        // All first times are before the end of time.
        let before_ms = if order == Order::Any { i64::MAX } else { visited_ms };
        self.segment_site.change_row(site, change, segments, before_ms);
        self.group_site.change_row(site, change, groups, before_ms);
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

/// Of two lists in order: what only the first has, and what only the second has.
fn differing(before: &[Living], after: &[Living]) -> [Vec<Living>; 2] {
    let ([mut gone, mut new], mut left, mut right): ([Vec<Living>; 2], _, _) = (Default::default(), before, after);
    while let (Some((first_left, rest_left)), Some((first_right, rest_right))) =
        (left.split_first(), right.split_first())
    {
        match first_left.cmp(first_right) {
            Ordering::Equal => (left, right) = (rest_left, rest_right),
            Ordering::Less => {
                gone.push(*first_left);
                left = rest_left;
            }
            Ordering::Greater => {
                new.push(*first_right);
                right = rest_right;
            }
        }
    }
    gone.extend_from_slice(left);
    new.extend_from_slice(right);
    [gone, new]
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
        counts.add_user(&alive(&[(0, 5), (1, 10), (2, 1)], &[(0, 10), (1, 5)]), &groups(), Order::Before);
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
        counts.add_user(&alive(&[(1, 10)], &[(1, 5)]), &groups(), Order::Any);
        assert_eq!(counts.segment_site.get(1, 1), 1);
        assert_eq!(counts.group_users, [2, 2]);
    }

    #[test]
    fn what_was_added_can_be_taken_away_and_parts_add_up() {
        let mut counts = Counts::new(3, 2, 2);
        let user = alive(&[(0, 1), (1, 2)], &[(1, 3)]);
        counts.add_user(&user, &groups(), Order::Before);
        let mut sum = counts.clone().widen(9, 9);
        sum.absorb(&counts);
        assert_eq!((sum.segment_users[1], sum.segment_site.get(1, 0), sum.group_site.get(1, 1)), (2, 2, 2));
        counts.move_user(&user, &alive(&[], &[]), &groups(), Order::Before);
        counts.segment_site.each(|_, _, _| panic!("all cells are zero again"));
        assert_eq!(counts.group_users, [0, 0]);
    }

    #[test]
    fn a_moved_user_counts_as_taken_away_and_added() {
        let mut random = fastrand::Rng::with_seed(2);
        for order in [Order::Before, Order::Any] {
            let (mut moved, mut users) = (Counts::new(3, 2, 2), Vec::new());
            for step in 0..2_000 {
                let mut some = |items: u32| -> Vec<Living> {
                    let some = (0..items).map(|item| (item, random.i64(-2..3)));
                    some.filter(|(_, first_ms)| *first_ms >= 0).collect()
                };
                let now = alive(&some(3), &some(2));
                let user = step % 7;
                if user >= users.len() {
                    users.push(alive(&[], &[]));
                }
                let before = std::mem::replace(&mut users[user], now);
                moved.move_user(&before, &users[user], &groups(), order);
            }
            let mut added = Counts::new(3, 2, 2);
            users.iter().for_each(|user| added.add_user(user, &groups(), order));
            let all = |counts: &Counts| {
                let mut all = Vec::new();
                counts.each(|measure, row, column, users| all.push((measure as u8, row, column, users)));
                all
            };
            assert_eq!(all(&moved), all(&added));
        }
    }
}
