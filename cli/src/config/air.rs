//! `[air]`: the Audience Index Report.

use std::path::{Path, PathBuf};

use neartime_air::{Alive, Order, Thresholds};
use neartime_model::{FeatureName, Span};

use super::feature::MEMBERSHIP;
use super::section::Section;
use super::value::Value;
use super::{Database, FeatureConfig};

/// `[air]`, its features not yet resolved: they may be Rust features.
#[derive(Clone, Debug)]
pub(crate) struct Air {
    pub(crate) segments: Vec<FeatureName>,
    pub(crate) sites: Vec<FeatureName>,
    pub(crate) groups: Option<PathBuf>,
    pub(crate) site_names: Option<PathBuf>,
    pub(crate) database: Database,
    /// A cron expression with seconds that has been read once.
    pub(crate) schedule: Option<String>,
    pub(crate) order: Order,
    pub(crate) alive: Span,
    /// By segment feature, in the order of `segments`.
    pub(crate) segments_alive: Vec<Alive>,
    pub(crate) thresholds: Thresholds,
}

/// Under this the counts of a cell tell of single people; 0 is for tests.
const LEAST_OVERLAP: u32 = 50;

pub(super) fn read(mut section: Section<'_>, base: &Path, features: &[FeatureConfig]) -> Option<Air> {
    let segments = memberships(&mut section, "segments", features);
    let sites = memberships(&mut section, "sites", features);
    let groups = file(&mut section, "groups", &["id", "group", "name"], base);
    let site_names = file(&mut section, "site_names", &["id", "name"], base);
    let database = match section.get("database") {
        Some(value) => Database::read(&value, "postgres", base),
        None => Some(Database::Sqlite(base.join("air.db"))),
    };
    let schedule = section.get("schedule").and_then(|value| {
        value.parsed::<cron::Schedule>()?;
        value.text()
    });
    let order = section
        .get("order")
        .map_or(Some(Order::Before), |value| value.one_of(&[("before", Order::Before), ("any", Order::Any)]));
    let alive = section.parsed("alive").unwrap_or(Span::from_days(30));
    let segments_alive = segments_alive(&mut section, segments.as_deref().unwrap_or_default(), Alive::For(alive));
    let min_overlap = section.get("min_overlap").map_or(Some(100), |value| min_overlap(&value));
    let min_site_audience = section.get("min_site_audience").map_or(Some(1_000), |value| count(&value));
    section.finish();
    Some(Air {
        segments: segments?,
        sites: sites?,
        groups,
        site_names,
        database: database?,
        schedule,
        order: order?,
        alive,
        segments_alive,
        thresholds: Thresholds { min_overlap: min_overlap?, min_site_audience: min_site_audience? },
    })
}

/// One feature or a list of them. Those of the configuration must be memberships; others may be Rust features, which
/// are checked once they are known.
fn memberships(section: &mut Section<'_>, key: &'static str, features: &[FeatureConfig]) -> Option<Vec<FeatureName>> {
    let Some(value) = section.get(key) else {
        return section.missing(key);
    };
    let mut names: Vec<FeatureName> = Vec::new();
    for text in value.text_or_texts()? {
        match text.parse::<FeatureName>() {
            Err(error) => value.problem(format!("cannot be used: {error}")),
            Ok(name) => {
                let feature = features.iter().find(|feature| feature.name == name);
                if feature.is_some_and(|feature| feature.spec.engine != MEMBERSHIP) {
                    value.problem(format!("names `{name}`, whose engine is not {MEMBERSHIP}"));
                }
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        value.problem("must name at least one segment_membership feature");
        return None;
    }
    Some(names)
}

/// A CSV file that must be there and begin with its header.
fn file(section: &mut Section<'_>, key: &'static str, header: &[&str], base: &Path) -> Option<PathBuf> {
    let value = section.get(key)?;
    let path = base.join(value.text()?);
    match first_line(&path) {
        Err(error) => value.problem(format!("cannot be read: {}: {error}", path.display())),
        Ok(line) => {
            let found: Vec<_> = line
                .trim_start_matches('\u{feff}')
                .trim()
                .split(',')
                .map(|name| name.trim().trim_matches('"'))
                .collect();
            if found != header {
                value.problem(format!("must begin with the header line {}: {}", header.join(","), path.display()));
            }
        }
    }
    Some(path)
}

fn first_line(path: &Path) -> std::io::Result<String> {
    use std::io::BufRead as _;
    let mut line = String::new();
    std::io::BufReader::new(std::fs::File::open(path)?).read_line(&mut line)?;
    Ok(line)
}

fn segments_alive(section: &mut Section<'_>, segments: &[FeatureName], default: Alive) -> Vec<Alive> {
    let mut alive = vec![default; segments.len()];
    let Some(value) = section.get("segments_alive") else { return alive };
    let Some(table) = value.as_section() else {
        if let Some(all) = value.parsed() {
            alive.fill(all);
        }
        return alive;
    };
    for (name, value) in table.entries() {
        match segments.iter().position(|segment| segment.as_str() == name) {
            Some(at) => alive[at] = value.parsed().unwrap_or(default),
            None => value.problem("is none of the features of `segments`"),
        }
    }
    alive
}

fn min_overlap(value: &Value<'_>) -> Option<u32> {
    let least = count(value)?;
    if (1..LEAST_OVERLAP).contains(&least) {
        value.problem(format!("is {least}: at least {LEAST_OVERLAP}, or 0 in tests"));
    }
    Some(least)
}

fn count(value: &Value<'_>) -> Option<u32> {
    let count = u32::try_from(value.integer(0)?).ok();
    if count.is_none() {
        value.problem("is too large");
    }
    count
}
