//! The report by nested loops over users, written from the rules in `lib.rs` alone.

use std::collections::{BTreeMap, BTreeSet};

use neartime_model::Instant;

use super::world::Files;
use crate::{AirConfig, Alive, Groups, Membership, Order, Report};

/// |s|, |S_g|, |s∩p| and |S_g∩p| by (site, group, segment), for the rows that a report must have.
pub(super) type Cells = BTreeMap<(String, String, String), [u32; 4]>;

/// The four counts of an open (nothing hidden) report.
pub(super) fn cells_of(report: &Report) -> Cells {
    let cells = report.rows().map(|row| {
        let key = (row.site.to_owned(), row.segment_group.to_owned(), row.segment.to_owned());
        let counts = [row.segment_users, row.group_users];
        (key, [counts[0], counts[1], row.segment_site_users.unwrap(), row.group_site_users.unwrap()])
    });
    cells.collect()
}

/// The same from the files.
pub(super) fn count(files: &Files, config: &AirConfig, groups: &Groups, as_of: Instant) -> Cells {
    let segments = living(files, &config.segments, as_of);
    let sites = living(files, &config.sites, as_of);
    let all: BTreeSet<&String> = segments.values().flat_map(|items| items.keys()).collect();
    let groups_of = |segment: &String| -> Vec<String> {
        match groups {
            Groups::All => vec!["all".to_owned()],
            Groups::Listed(listed) => listed.get(segment).map(|g| g.keys().cloned().collect()).unwrap_or_default(),
        }
    };
    let by_group = all.into_iter().flat_map(|segment| groups_of(segment).into_iter().map(move |g| (g, segment)));
    let mut of_group: BTreeMap<String, BTreeSet<&String>> = BTreeMap::new();
    by_group.for_each(|(group, segment)| {
        of_group.entry(group).or_default().insert(segment);
    });
    let site_ids: BTreeSet<&String> = sites.values().flat_map(|items| items.keys()).collect();
    let segment_ids: Vec<&String> = of_group.values().flatten().copied().collect();
    // By user: the first time in each segment, and on each site.
    let times: Vec<[BTreeMap<&String, i64>; 2]> = segments
        .keys()
        .chain(sites.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|user| [pick(&segments, user, &segment_ids), pick(&sites, user, &site_ids)])
        .collect();

    let mut cells = Cells::new();
    for &site in &site_ids {
        let counts = |first: Option<&i64>, visit: Option<&i64>| match (first, visit) {
            (Some(first), Some(visit)) => config.order == Order::Any || first < visit,
            _ => false,
        };
        for (group, members) in &of_group {
            let mut on_site: BTreeMap<&String, u32> = members.iter().map(|segment| (*segment, 0)).collect();
            let mut in_segment = on_site.clone();
            let (mut in_group, mut group_site) = (0, 0);
            for [firsts, visits] in &times {
                let (mut any, mut any_on_site) = (false, false);
                for &segment in members {
                    if firsts.contains_key(segment) {
                        any = true;
                        *in_segment.get_mut(segment).unwrap() += 1;
                    }
                    if counts(firsts.get(segment), visits.get(site)) {
                        any_on_site = true;
                        *on_site.get_mut(segment).unwrap() += 1;
                    }
                }
                in_group += u32::from(any);
                group_site += u32::from(any_on_site);
            }
            for &segment in members.iter().filter(|_| group_site > 0) {
                let key = (site.clone(), group.clone(), segment.clone());
                cells.insert(key, [in_segment[segment], in_group, on_site[segment], group_site]);
            }
        }
    }
    cells
}

fn pick<'a>(
    living: &BTreeMap<String, BTreeMap<String, i64>>,
    user: &String,
    items: impl IntoIterator<Item = &'a &'a String>,
) -> BTreeMap<&'a String, i64> {
    let Some(of_user) = living.get(user) else { return BTreeMap::new() };
    items.into_iter().filter_map(|item| of_user.get(*item).map(|first| (*item, *first))).collect()
}

/// By user, by item: when the last run began, for the items alive.
fn living(files: &Files, members: &[Membership], as_of: Instant) -> BTreeMap<String, BTreeMap<String, i64>> {
    let mut alive_of: Vec<Alive> = members.iter().map(|member| member.alive).collect();
    alive_of.sort();
    alive_of.dedup();
    let mut living: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for alive in alive_of {
        let mut intervals: BTreeMap<(&str, &str), Vec<(i64, i64)>> = BTreeMap::new();
        for ((feature, chunk, _), rows) in files {
            let is_of = |member: &&Membership| member.alive == alive && member.table.name.as_str() == feature;
            if chunk.end() > as_of || !members.iter().any(|member| is_of(&member)) {
                continue;
            }
            for row in rows {
                intervals.entry((&row.user, &row.item)).or_default().push((row.first_ms, row.last_ms));
            }
        }
        for ((user, item), mut intervals) in intervals {
            intervals.sort();
            let (mut first, mut last) = intervals[0];
            for (min, max) in intervals {
                let span = match alive {
                    Alive::For(span) => span.as_micros() / 1_000,
                    Alive::Always => i64::MAX / 4,
                };
                if min - last > span {
                    first = min;
                    last = max;
                }
                last = last.max(max);
            }
            let is_alive = match alive {
                Alive::For(span) => last > as_of.as_millis() - span.as_micros() / 1_000,
                Alive::Always => true,
            };
            if is_alive {
                let firsts = living.entry(user.to_owned()).or_default();
                let known = firsts.entry(item.to_owned()).or_insert(first);
                *known = first.min(*known);
            }
        }
    }
    living
}
