//! Which cells of a site must not be shown, so that no small number of users can be read or worked out.
//!
//! A cell is hidden because it is small, because it would be what is left after subtracting its neighbours from
//! their group's total, or because another group of the site hides the same segment. The rules feed each other, so
//! they are applied in rounds until nothing changes. Each round looks at all groups as the last round left them:
//! the result does not depend on the order of the groups.

/// The thresholds under which counts are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Cells with fewer users of the segment on the site are hidden.
    pub min_overlap: u32,
    /// All cells of a site with fewer living users are hidden.
    pub min_site_audience: u32,
}

/// One cell of a site, as far as hiding is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SiteCell {
    /// The group; the cells of one group stand together.
    pub(crate) group: u32,
    /// The segment's rank by its id, which breaks ties.
    pub(crate) segment: u32,
    /// |s∩p|.
    pub(crate) users: u32,
}

/// What to hide of one site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hidden {
    /// For each cell, in the order given, whether it is suppressed.
    pub(crate) cells: Vec<bool>,
    /// For each cell, whether its group's total on the site (|S_g∩p|) is null as well.
    pub(crate) group_totals: Vec<bool>,
}

/// Decides what to hide of a site with `audience` living users.
pub(crate) fn hide(cells: &[SiteCell], audience: u32, thresholds: Thresholds) -> Hidden {
    if audience < thresholds.min_site_audience {
        return Hidden { cells: vec![true; cells.len()], group_totals: vec![true; cells.len()] };
    }
    let segments = cells.iter().map(|cell| cell.segment as usize + 1).max().unwrap_or(0);
    // A segment has the same users in all its groups, so what is small is small, and hidden, in all of them.
    let mut hidden = vec![false; segments];
    for cell in cells.iter().filter(|cell| cell.users < thresholds.min_overlap) {
        hidden[cell.segment as usize] = true;
    }
    loop {
        let partners: Vec<u32> =
            cells.chunk_by(same_group).filter_map(|group| partner_of_the_only(group, &hidden)).collect();
        if partners.is_empty() {
            break;
        }
        for segment in partners {
            hidden[segment as usize] = true;
        }
    }
    let is_hidden = |cell: &SiteCell| hidden[cell.segment as usize];
    Hidden {
        cells: cells.iter().map(is_hidden).collect(),
        group_totals: cells
            .chunk_by(same_group)
            .flat_map(|group| vec![group.len() == 1 && is_hidden(&group[0]); group.len()])
            .collect(),
    }
}

fn same_group(left: &SiteCell, right: &SiteCell) -> bool {
    left.group == right.group
}

/// Where exactly one cell of the group is hidden: the smallest of the others, whose hiding makes subtraction vain.
fn partner_of_the_only(group: &[SiteCell], hidden: &[bool]) -> Option<u32> {
    let shown = |cell: &&SiteCell| !hidden[cell.segment as usize];
    if group.iter().filter(shown).count() + 1 != group.len() {
        return None;
    }
    group.iter().filter(shown).min_by_key(|cell| (cell.users, cell.segment)).map(|cell| cell.segment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: Thresholds = Thresholds { min_overlap: 10, min_site_audience: 100 };

    fn cell(group: u32, segment: u32, users: u32) -> SiteCell {
        SiteCell { group, segment, users }
    }

    #[test]
    fn a_lone_small_cell_takes_the_next_smallest_with_it() {
        let cells = [cell(0, 0, 50), cell(0, 1, 3), cell(0, 2, 40)];
        assert_eq!(hide(&cells, 100, TEN).cells, [false, true, true]);
    }

    #[test]
    fn ties_go_to_the_lower_segment() {
        let cells = [cell(0, 5, 40), cell(0, 1, 3), cell(0, 2, 40)];
        assert_eq!(hide(&cells, 100, TEN).cells, [false, true, true]);
    }

    #[test]
    fn hiding_travels_through_shared_segments() {
        // 1 is small; 2 goes with it in group 0; in group 1 then 2 stands alone, and 3 goes with it.
        let cells = [cell(0, 1, 3), cell(0, 2, 20), cell(0, 9, 99), cell(1, 2, 20), cell(1, 3, 30), cell(1, 4, 40)];
        assert_eq!(hide(&cells, 100, TEN).cells, [true, true, false, true, true, false]);
    }

    #[test]
    fn rounds_look_at_all_groups_at_once() {
        // Group 0 hides 2 for 1, group 1 hides 4 for 3, though 2 (of both groups) would have done for the two.
        let cells = [cell(0, 1, 3), cell(0, 2, 30), cell(1, 2, 30), cell(1, 3, 3), cell(1, 4, 20)];
        assert_eq!(hide(&cells, 100, TEN).cells, [true, true, true, true, true]);
        // The same the other way round.
        let cells = [cell(0, 2, 30), cell(0, 3, 3), cell(0, 4, 20), cell(1, 1, 3), cell(1, 2, 30)];
        assert_eq!(hide(&cells, 100, TEN).cells, [true, true, true, true, true]);
    }

    #[test]
    fn without_a_second_cell_the_group_total_goes_too() {
        let cells = [cell(0, 1, 3), cell(1, 2, 30), cell(1, 3, 40)];
        let hidden = hide(&cells, 100, TEN);
        assert_eq!(hidden.cells, [true, false, false]);
        assert_eq!(hidden.group_totals, [true, false, false]);
    }

    #[test]
    fn a_small_site_shows_nothing() {
        let cells = [cell(0, 1, 99), cell(0, 2, 99)];
        let hidden = hide(&cells, 99, TEN);
        assert_eq!(hidden, Hidden { cells: vec![true; 2], group_totals: vec![true; 2] });
    }

    #[test]
    fn thresholds_of_zero_hide_nothing() {
        let open = Thresholds { min_overlap: 0, min_site_audience: 0 };
        assert_eq!(hide(&[cell(0, 1, 0)], 0, open), Hidden { cells: vec![false], group_totals: vec![false] });
    }

    /// Groups over shared segments; a segment has one number of users, whatever the group.
    fn sites() -> impl Strategy<Value = Vec<SiteCell>> {
        let users = prop::collection::vec(0_u32..60, 12);
        let groups = prop::collection::vec(prop::collection::btree_set(0_u32..12, 1..8), 1..6);
        (users, groups).prop_map(|(users, groups)| {
            let cells = groups.iter().enumerate().flat_map(|(group, segments)| {
                segments.iter().map(|&s| cell(u32::try_from(group).unwrap(), s, users[s as usize])).collect::<Vec<_>>()
            });
            cells.collect()
        })
    }

    proptest! {
        /// The attack: subtract what is shown from the group's total, or look the segment up in another group.
        #[test]
        fn no_hidden_cell_can_be_worked_out(cells in sites()) {
            let hidden = hide(&cells, 100, TEN);
            let of = |group: u32| cells.iter().zip(hidden.cells.iter().zip(&hidden.group_totals))
                .filter(move |(cell, _)| cell.group == group);
            for (cell, (&is_hidden, _)) in cells.iter().zip(hidden.cells.iter().zip(&hidden.group_totals)) {
                prop_assert!(is_hidden || cell.users >= TEN.min_overlap);
                for (other, other_hidden) in cells.iter().zip(&hidden.cells) {
                    prop_assert!(other.segment != cell.segment || is_hidden == *other_hidden);
                }
                let unknown = of(cell.group).filter(|(_, (hidden, _))| **hidden).count();
                let total_shown = of(cell.group).all(|(_, (_, total_hidden))| !*total_hidden);
                prop_assert!(!(unknown == 1 && total_shown), "subtraction reveals a cell of group {}", cell.group);
            }
        }
    }
}
