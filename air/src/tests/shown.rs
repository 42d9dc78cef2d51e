//! What a report hides and flags, against the rules in `lib.rs` taken one by one.

use std::collections::{BTreeMap, BTreeSet};

use neartime_model::{Fence, Instant};

use crate::count::{Counts, Measure};
use crate::report::{Of, Report, ReportNames, group_names};
use crate::{Groups, SiteNames, Thresholds, Work, p_value};

/// Random counts that need not come from users: 8 segments in 4 groups, 6 sites.
fn random_report(random: &mut fastrand::Rng, thresholds: Thresholds) -> (Report, Vec<u32>) {
    let mut listed: BTreeMap<String, BTreeMap<String, Option<String>>> = BTreeMap::new();
    for segment in 0..8 {
        for group in 0..4 {
            if random.u8(0..10) < 4 {
                listed.entry(format!("s{segment}")).or_default().insert(format!("g{group}"), None);
            }
        }
    }
    let grouping = Groups::Listed(listed);
    let groups = group_names(&grouping);
    let mut counts = Counts::new(8, 6, groups.len());
    for segment in 0..8 {
        counts.add(Measure::SegmentUsers, segment, 0, random.u32(0..400));
        for site in 0..6 {
            counts.add(Measure::SegmentSite, site, segment, random.u32(0..40));
        }
    }
    let audiences: Vec<u32> = (0..6).map(|_| random.u32(50..300)).collect();
    for (site, audience) in (0..).zip(&audiences) {
        counts.add(Measure::SiteUsers, site, 0, *audience);
    }
    for group in 0..groups.len() as u32 {
        counts.add(Measure::GroupUsers, group, 0, random.u32(400..900));
        (0..6).for_each(|site| counts.add(Measure::GroupSite, site, group, random.u32(40..200)));
    }
    let ids = |letter: char, count: usize| (0..count).map(|number| format!("{letter}{number}")).collect();
    let names =
        ReportNames { segments: ids('s', 8), sites: ids('p', 6), groups, grouping, site_names: SiteNames::new() };
    let of = Of { as_of: Instant::EPOCH, fence: Fence(1), inputs: Vec::new(), work: Work::Everyone };
    (Report::new(of, names, &counts, thresholds, 2), audiences)
}

/// By site, by group: the segments and their users, as a report that hides nothing shows them.
type Open<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeMap<&'a str, u32>>>;

/// The suppressed (site, segment) pairs, and the (site, group)s whose total is hidden.
fn hidden<'a>(open: &Open<'a>, audiences: &[u32], thresholds: Thresholds) -> [BTreeSet<(&'a str, &'a str)>; 2] {
    let (mut cells, mut totals) = (BTreeSet::new(), BTreeSet::new());
    for (site, groups) in open {
        let small = audiences[site[1..].parse::<usize>().unwrap()] < thresholds.min_site_audience;
        for (group, segments) in groups {
            totals.extend(small.then_some((*site, *group)));
            let hide = segments.iter().filter(|(_, users)| small || **users < thresholds.min_overlap);
            cells.extend(hide.map(|(segment, _)| (*site, *segment)));
        }
        loop {
            let mut partners = BTreeSet::new();
            for segments in groups.values() {
                let shown: Vec<_> =
                    segments.iter().filter(|(segment, _)| !cells.contains(&(*site, **segment))).collect();
                if segments.len() - shown.len() == 1 {
                    let next = shown.iter().min_by_key(|(segment, users)| (**users, **segment));
                    partners.extend(next.map(|(segment, _)| (*site, **segment)));
                }
            }
            if partners.is_empty() {
                break;
            }
            cells.extend(partners);
        }
        for (group, segments) in groups {
            let lone = segments.len() == 1 && segments.keys().all(|segment| cells.contains(&(*site, *segment)));
            totals.extend(lone.then_some((*site, *group)));
        }
    }
    [cells, totals]
}

#[test]
fn reports_hide_and_flag_by_the_rules() {
    let thresholds = Thresholds { min_overlap: 6, min_site_audience: 80 };
    let (mut hidden_cells, mut flagged) = (0, 0);
    for seed in 0..300 {
        let nothing = Thresholds { min_overlap: 0, min_site_audience: 0 };
        let (all, audiences) = random_report(&mut fastrand::Rng::with_seed(seed), nothing);
        let (report, _) = random_report(&mut fastrand::Rng::with_seed(seed), thresholds);
        let mut open = Open::new();
        for row in all.rows() {
            let group = open.entry(row.site).or_default().entry(row.segment_group).or_default();
            group.insert(row.segment, row.segment_site_users.unwrap());
        }
        let [cells, totals] = hidden(&open, &audiences, thresholds);
        let z: BTreeMap<_, _> =
            all.rows().map(|row| ((row.site, row.segment_group, row.segment), row.z_score)).collect();
        let mut p: Vec<f64> = report
            .rows()
            .filter(|row| !row.suppressed)
            .filter_map(|row| z[&(row.site, row.segment_group, row.segment)].map(p_value))
            .collect();
        p.sort_by(f64::total_cmp);
        let limit = (1..=p.len()).rev().find(|&k| p[k - 1] <= k as f64 / p.len() as f64 * 0.05).map(|k| p[k - 1]);
        assert_eq!(report.len(), all.len());
        for row in report.rows() {
            let suppressed = cells.contains(&(row.site, row.segment));
            assert_eq!(row.suppressed, suppressed, "seed {seed}: {row:?}");
            assert_eq!(row.group_site_users.is_none(), totals.contains(&(row.site, row.segment_group)), "{row:?}");
            let told = [row.index_value, row.z_score, row.index_low, row.index_high];
            if suppressed {
                assert!(row.segment_site_users.is_none() && row.significant.is_none() && told == [None; 4]);
                hidden_cells += 1;
            } else {
                let p = row.z_score.map(p_value);
                let significant = p.zip(limit).is_some_and(|(p, limit)| p <= limit);
                assert_eq!(row.significant, Some(significant), "seed {seed}: {row:?}");
                flagged += usize::from(significant);
            }
        }
    }
    assert!(hidden_cells > 1_000 && flagged > 1_000, "{hidden_cells} hidden, {flagged} significant");
}
