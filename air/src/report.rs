//! The report: the counts, what they say, and what of it may be shown.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

use neartime_model::{ContentOrder, FeatureName, Fence, Instant};

use crate::count::Counts;
use crate::discovery::significance_threshold;
use crate::index::{CellCounts, p_value};
use crate::names::{GROUP_OF_ALL, Groups, SiteNames};
use crate::refresh::Work;
use crate::suppress::{SiteCell, Thresholds, hide};

/// The expected share of false ones among the cells flagged significant.
const FALSE_DISCOVERY_RATE: f64 = 0.05;

/// A finished report.
#[derive(Clone, Debug)]
pub struct Report {
    /// Chunks that end at or before this instant are counted.
    pub as_of: Instant,
    /// The fence of the run: a report with a lower one never replaces it.
    pub fence: Fence,
    /// The files of the features store that it was counted from.
    pub inputs: Vec<ReportInput>,
    /// How many users had to be counted.
    pub work: Work,
    /// Segments that no group lists, with their living users.
    pub ungrouped: Vec<(String, u32)>,
    names: ReportNames,
    /// By shares of the sites, in order.
    cells: Vec<Vec<Cell>>,
    /// |s| by segment, |S_g| by group.
    totals: Totals,
}

/// A file that the report was counted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportInput {
    /// The feature.
    pub feature: FeatureName,
    /// Its path below the features store.
    pub path: String,
    /// Version and generation of its content.
    pub order: ContentOrder,
}

/// One row: a site, a group that has users there, and a segment of the group that has users.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<Text> {
    /// Id of the site.
    pub site: Text,
    /// Its name, if it has one.
    pub site_name: Option<Text>,
    /// Id of the segment.
    pub segment: Text,
    /// Its name in this group, if it has one.
    pub segment_name: Option<Text>,
    /// The group.
    pub segment_group: Text,
    /// |s|.
    pub segment_users: u32,
    /// |S_g|.
    pub group_users: u32,
    /// |s∩p|; null if suppressed.
    pub segment_site_users: Option<u32>,
    /// |S_g∩p|; null where it would tell a suppressed count.
    pub group_site_users: Option<u32>,
    /// 100 is as expected; null if suppressed.
    pub index_value: Option<f64>,
    /// Standard deviations from as expected; null if suppressed, or where nothing can vary.
    pub z_score: Option<f64>,
    /// Lower end of the 95 % interval of the index.
    pub index_low: Option<f64>,
    /// Upper end of it.
    pub index_high: Option<f64>,
    /// Whether the deviation survives the test of all cells; null if suppressed.
    pub significant: Option<bool>,
    /// Whether the cell is hidden to protect its users.
    pub suppressed: bool,
}

/// The names of the dictionary and of the CSV files.
#[derive(Clone, Debug)]
pub(crate) struct ReportNames {
    /// Ids by number.
    pub(crate) segments: Vec<String>,
    /// Ids by number.
    pub(crate) sites: Vec<String>,
    /// In order.
    pub(crate) groups: Vec<String>,
    pub(crate) grouping: Groups,
    pub(crate) site_names: SiteNames,
}

/// Half a million of them are made for each report: they hold what is a cell's own.
#[derive(Clone, Copy, Debug)]
struct Cell {
    site: u32,
    segment: u32,
    group: u32,
    /// |s∩p|.
    segment_site: u32,
    /// |S_g∩p|.
    group_site: u32,
    suppressed: bool,
    total_hidden: bool,
    significant: bool,
}

/// What the cells of a segment, or of a group, have in common.
#[derive(Clone, Debug)]
struct Totals {
    segments: Vec<u32>,
    groups: Vec<u32>,
}

/// The cells of some sites, and what came of testing them.
struct Share {
    cells: Vec<Cell>,
    tests: usize,
    /// How often chance alone would go as far as the cell at a place, where that is seldom.
    low: Vec<(usize, f64)>,
}

/// What a report is of.
#[derive(Clone, Debug)]
pub(crate) struct Of {
    pub(crate) as_of: Instant,
    pub(crate) fence: Fence,
    pub(crate) inputs: Vec<ReportInput>,
    pub(crate) work: Work,
}

impl Report {
    /// Computes what the counts say, on so many threads.
    pub(crate) fn new(of: Of, names: ReportNames, counts: &Counts, thresholds: Thresholds, threads: usize) -> Self {
        let by_group = segments_by_group(&names, counts);
        let grouped: BTreeSet<u32> = by_group.iter().flatten().copied().collect();
        let ungrouped = (0..).zip(&names.segments).filter(|(number, _)| !grouped.contains(number));
        let ungrouped = ungrouped.map(|(number, id)| (id.clone(), counts.segment_users[number as usize]));
        let ungrouped: Vec<_> = ungrouped.filter(|(_, users)| *users > 0).collect();
        let (rank, sites) = (rank(&names.segments), in_order(&names.sites));
        let totals = Totals { segments: counts.segment_users.clone(), groups: counts.group_users.clone() };
        let cells_of_sites = |sites: &[u32]| {
            let mut cells = Vec::with_capacity(sites.len() * by_group.iter().map(Vec::len).sum::<usize>());
            for &site in sites {
                let begin = cells.len();
                for (group, segments) in (0..).zip(&by_group) {
                    cells.extend(cells_of(site, group, segments, counts));
                }
                suppress(&mut cells[begin..], &rank, counts.site_users[site as usize], thresholds);
            }
            test(cells, &totals)
        };
        let share = sites.len().div_ceil(threads.max(1)).max(1);
        let mut shares: Vec<Share> = std::thread::scope(|scope| {
            let shares = sites.chunks(share).map(|sites| scope.spawn(|| cells_of_sites(sites)));
            let shares: Vec<_> = shares.collect();
            let join = |share: ScopedJoinHandle<'_, Share>| share.join().unwrap_or_else(|panic| resume_unwind(panic));
            shares.into_iter().map(join).collect()
        });
        flag_significant(&mut shares);
        let cells = shares.into_iter().map(|share| share.cells).collect();
        let Of { as_of, fence, inputs, work } = of;
        Self { as_of, fence, inputs, work, ungrouped, names, cells, totals }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.cells.iter().map(Vec::len).sum()
    }

    /// Whether nobody of any group is on any site.
    pub fn is_empty(&self) -> bool {
        self.cells.iter().all(Vec::is_empty)
    }

    /// How many rows are suppressed.
    pub fn suppressed(&self) -> usize {
        self.cells.iter().flatten().filter(|cell| cell.suppressed).count()
    }

    /// The rows, by site, group and segment.
    pub fn rows(&self) -> impl Iterator<Item = Row<&str>> {
        self.cells.iter().flatten().map(|cell| self.row(cell))
    }

    fn row(&self, cell: &Cell) -> Row<&str> {
        let names = &self.names;
        let (site, segment) = (&names.sites[cell.site as usize], &names.segments[cell.segment as usize]);
        let group = &names.groups[cell.group as usize];
        let segment_name = match &names.grouping {
            Groups::All => None,
            Groups::Listed(segments) => segments.get(segment).and_then(|groups| groups.get(group)?.as_deref()),
        };
        let shown = !cell.suppressed;
        let counts = self.totals.of(cell);
        let measures = if shown { counts.measure() } else { Default::default() };
        Row {
            site,
            site_name: names.site_names.get(site).map(String::as_str),
            segment,
            segment_name,
            segment_group: group,
            segment_users: counts.segment,
            group_users: counts.group,
            segment_site_users: shown.then_some(cell.segment_site),
            group_site_users: (!cell.total_hidden).then_some(cell.group_site),
            index_value: measures.index,
            z_score: measures.z,
            index_low: measures.low,
            index_high: measures.high,
            significant: shown.then_some(cell.significant),
            suppressed: cell.suppressed,
        }
    }
}

/// The names of all groups in order, which gives them their numbers.
pub(crate) fn group_names(groups: &Groups) -> Vec<String> {
    match groups {
        Groups::All => vec![GROUP_OF_ALL.to_owned()],
        Groups::Listed(segments) => {
            let names: BTreeSet<&String> = segments.values().flat_map(|groups| groups.keys()).collect();
            names.into_iter().cloned().collect()
        }
    }
}

/// The segments of each group that have users, in order of their ids.
fn segments_by_group(names: &ReportNames, counts: &Counts) -> Vec<Vec<u32>> {
    let mut by_group = vec![Vec::new(); names.groups.len()];
    for segment in in_order(&names.segments) {
        if counts.segment_users[segment as usize] == 0 {
            continue;
        }
        match &names.grouping {
            Groups::All => by_group[0].push(segment),
            Groups::Listed(segments) => {
                let groups = segments.get(&names.segments[segment as usize]);
                for group in groups.into_iter().flat_map(|groups| groups.keys()) {
                    let number = names.groups.binary_search(group).expect("all groups are numbered");
                    by_group[number].push(segment);
                }
            }
        }
    }
    by_group
}

fn cells_of(site: u32, group: u32, segments: &[u32], counts: &Counts) -> impl Iterator<Item = Cell> {
    let group_site = counts.group_site.get(site, group);
    let segments = if group_site == 0 { &[] } else { segments };
    segments.iter().map(move |&segment| Cell {
        site,
        segment,
        group,
        segment_site: counts.segment_site.get(site, segment),
        group_site,
        suppressed: false,
        total_hidden: false,
        significant: false,
    })
}

fn suppress(cells: &mut [Cell], rank: &[u32], audience: u32, thresholds: Thresholds) {
    let site_cell =
        |cell: &Cell| SiteCell { group: cell.group, segment: rank[cell.segment as usize], users: cell.segment_site };
    let of_site: Vec<SiteCell> = cells.iter().map(site_cell).collect();
    let hidden = hide(&of_site, audience, thresholds);
    for (cell, (suppressed, total_hidden)) in cells.iter_mut().zip(hidden.cells.iter().zip(&hidden.group_totals)) {
        (cell.suppressed, cell.total_hidden) = (*suppressed, *total_hidden);
    }
}

impl Totals {
    fn of(&self, cell: &Cell) -> CellCounts {
        CellCounts {
            segment_site: cell.segment_site,
            group_site: cell.group_site,
            segment: self.segments[cell.segment as usize],
            group: self.groups[cell.group as usize],
        }
    }
}

/// Tests the cells that are shown and can vary.
fn test(cells: Vec<Cell>, totals: &Totals) -> Share {
    let (mut tests, mut low) = (0, Vec::new());
    for (at, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.suppressed) {
        let Some(z) = totals.of(cell).z() else { continue };
        tests += 1;
        // Worth a slow function only where it can tell: the p-value of 1.9 is 0.057.
        if z.abs() > 1.9 {
            low.push((at, p_value(z)));
        }
    }
    Share { cells, tests, low }
}

fn flag_significant(shares: &mut [Share]) {
    let tests = shares.iter().map(|share| share.tests).sum();
    let low = shares.iter().flat_map(|share| &share.low).map(|(_, p)| *p).filter(|p| *p <= FALSE_DISCOVERY_RATE);
    let Some(threshold) = significance_threshold(low.collect(), tests, FALSE_DISCOVERY_RATE) else { return };
    for Share { cells, low, .. } in shares {
        low.iter().filter(|(_, p)| *p <= threshold).for_each(|(at, _)| cells[*at].significant = true);
    }
}

/// The numbers of names, in order of the names.
fn in_order(names: &[String]) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..).take(names.len()).collect();
    numbers.sort_by(|&left, &right| names[left as usize].cmp(&names[right as usize]));
    numbers
}

/// The place of each name among all of them.
fn rank(names: &[String]) -> Vec<u32> {
    let mut ranks = vec![0; names.len()];
    (0..).zip(in_order(names)).for_each(|(place, number)| ranks[number as usize] = place);
    ranks
}
