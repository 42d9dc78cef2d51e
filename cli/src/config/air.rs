//! `[air]`: the Audience Index Report.

use std::path::{Path, PathBuf};

use neartime_air::{AirError, Alive, LEAST_MIN_OVERLAP, Order, Thresholds, read_groups, read_site_names};
use neartime_model::{FeatureName, Instant, Span, chain};

use super::feature::MEMBERSHIP;
use super::section::Section;
use super::value::Value;
use super::{Database, FeatureConfig};

/// `[air]`, its features not yet resolved: they may be Rust features.
#[derive(Clone, Debug)]
pub(crate) struct Air {
    pub(crate) segments: Members,
    pub(crate) sites: Members,
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

/// Features that are named in one key.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    pub(crate) names: Vec<FeatureName>,
    /// Where they are named, for complaints that come once all features are known.
    pub(crate) place: String,
}

/// How `schedule` is written.
const CRON: &str = "second, minute, hour, day of month, month and day of week (Mon to Sun), UTC, as \"0 */10 * * * *\"";

pub(super) fn read(mut section: Section<'_>, base: &Path, features: &[FeatureConfig]) -> Option<Air> {
    let segments = memberships(&mut section, "segments", features);
    let sites = memberships(&mut section, "sites", features);
    let groups = file(&mut section, "groups", base, |path| read_groups(path).map(drop));
    let site_names = file(&mut section, "site_names", base, |path| read_site_names(path).map(drop));
    let database = match section.get("database") {
        Some(value) => Database::read(&value, "postgres", base),
        None => Some(Database::Sqlite(base.join("air.db"))),
    };
    let schedule = section.get("schedule").and_then(|value| schedule(&value));
    let order = section
        .get("order")
        .map_or(Some(Order::Before), |value| value.one_of(&[("before", Order::Before), ("any", Order::Any)]));
    let alive = section.parsed("alive").unwrap_or(Span::from_days(30));
    let segments_alive =
        segments_alive(&mut section, segments.as_ref().map_or(&[][..], |segments| &segments.names), Alive::For(alive));
    let min_overlap = section.get("min_overlap").map_or(Some(100), |value| min_overlap(&value));
    let min_site_audience = section.get("min_site_audience").map_or(Some(1_000), |value| value.count(0));
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
fn memberships(section: &mut Section<'_>, key: &'static str, features: &[FeatureConfig]) -> Option<Members> {
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
    Some(Members { names, place: value.place() })
}

/// A CSV file; read once, so that what the report could not use is told before there is a report to make.
fn file(
    section: &mut Section<'_>,
    key: &'static str,
    base: &Path,
    read: impl FnOnce(&Path) -> Result<(), AirError>,
) -> Option<PathBuf> {
    let value = section.get(key)?;
    let path = base.join(value.text()?);
    if let Err(error) = read(&path) {
        value.problem(format!("cannot be used: {}", chain(&error)));
    }
    Some(path)
}

/// A cron expression with seconds. Five fields, as crontab has them, are the usual mistake.
fn schedule(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let error = match text.parse::<cron::Schedule>() {
        Ok(schedule) => {
            let first = Instant::from_secs(0).to_utc().and_then(|epoch| schedule.after(&epoch).next());
            if first.is_none() {
                value.problem(format!("is \"{text}\", which never comes: no year has such a day"));
            }
            return Some(text);
        }
        Err(error) => error,
    };
    let fields = text.split_whitespace().count();
    if !text.starts_with('@') && !(6..=7).contains(&fields) {
        value.problem(format!("is \"{text}\", which has {fields} fields, not six: {CRON}"));
        return None;
    }
    // The first lines point at the place in the text.
    let error = error.to_string();
    let reason = error.lines().rfind(|line| line.contains(char::is_alphanumeric)).unwrap_or_default();
    value.problem(format!("is \"{text}\", which cannot be used ({reason}): write {CRON}"));
    None
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
    let least = value.count(0)?;
    if (1..LEAST_MIN_OVERLAP).contains(&least) {
        value.problem(format!("is {least}: at least {LEAST_MIN_OVERLAP}, or 0 in tests"));
    }
    Some(least)
}
