//! `[[feature]]`: a feature written as SQL expressions.

use neartime_engine::{SqlFeature, SqlFeatureSpec};
use neartime_model::{FeatureName, OutputName, SourceName, Span};

use super::section::Section;
use super::value::Value;

/// A `[[feature]]` table. What its expressions mean is known only with its source's columns.
#[derive(Clone, Debug)]
pub(crate) struct FeatureConfig {
    /// Where it stands: file and line.
    pub(crate) place: String,
    pub(crate) name: FeatureName,
    pub(crate) spec: SqlFeatureSpec,
}

/// The engine of which users are in which segment; `[air]` needs it.
pub(super) const MEMBERSHIP: &str = "segment_membership";
const ENGINES: [(&str, &str); 4] =
    [("last_action_time", "last_action_time"), ("count", "count"), (MEMBERSHIP, MEMBERSHIP), ("rollup", "rollup")];
const AGGREGATES: [(&str, &str); 3] = [("sum", "sum"), ("min", "min"), ("max", "max")];

/// Reads every `[[feature]]`; their names must differ.
pub(super) fn read_all(root: &mut Section<'_>) -> Vec<FeatureConfig> {
    let mut features: Vec<FeatureConfig> = Vec::new();
    for section in root.sections("feature") {
        let named = section.name();
        let problem = section.problem_later();
        let Some(feature) = read(section) else { continue };
        if features.iter().any(|other| other.name == feature.name) {
            problem(format!("{named} stands there twice"));
        } else if let Err(error) = SqlFeature::new(feature.spec.clone()) {
            problem(error.to_string());
        }
        features.push(feature);
    }
    features
}

fn read(mut section: Section<'_>) -> Option<FeatureConfig> {
    let name: Option<FeatureName> = section.required("name");
    let version = section.get("version").map_or(Some(1), |value| value.count(1));
    let source: Option<SourceName> = section.required("source");
    let engine = match section.get("engine") {
        Some(value) => value.one_of(&ENGINES),
        None => section.missing("engine"),
    };
    let keys = section.get("keys").map(|value| keys(&value));
    let filter = section.text("where");
    let select = texts(&mut section, "select");
    if select.is_empty() {
        section.problem(format!("{} needs a table `select` with an expression for each column", section.name()));
    }
    let aggregate = entries(&mut section, "aggregate", |_, value| value.one_of(&AGGREGATES).map(str::to_owned));
    let ratios = entries(&mut section, "ratios", |name, value| {
        name.parse::<OutputName>().map_err(|error| value.problem(format!("cannot be used: {error}"))).ok()?;
        value.text()
    });
    let retention = section.get("retention").and_then(|value| {
        let span: Span = value.parsed()?;
        if span <= Span::ZERO {
            value.problem("must be longer than nothing");
        }
        Some(span)
    });
    let place = section.place();
    section.finish();
    let spec = SqlFeatureSpec {
        name: name.as_ref()?.to_string(),
        version: Some(version?),
        source: source?.to_string(),
        engine: engine?.to_owned(),
        filter,
        select,
        keys: keys.map_or(Some(None), |keys| keys.map(Some))?,
        aggregate,
        ratios,
        retention,
    };
    (!spec.select.is_empty()).then_some(FeatureConfig { place, name: name?, spec })
}

fn keys(value: &Value<'_>) -> Option<Vec<String>> {
    let texts = value.texts()?;
    for (at, text) in texts.iter().enumerate() {
        if let Err(error) = text.parse::<OutputName>() {
            value.problem(format!("cannot be used: {error}"));
        }
        if texts[..at].contains(text) {
            value.problem(format!("names `{text}` twice"));
        }
    }
    Some(texts)
}

/// A table of texts with free keys, in the order in which they are written.
fn texts(section: &mut Section<'_>, key: &'static str) -> Vec<(String, String)> {
    entries(section, key, |_, value| value.text())
}

fn entries(
    section: &mut Section<'_>,
    key: &'static str,
    read: impl Fn(&str, &Value<'_>) -> Option<String>,
) -> Vec<(String, String)> {
    let Some(table) = section.section(key) else { return Vec::new() };
    let entry = |(name, value): (String, Value<'_>)| {
        let text = read(&name, &value)?;
        Some((name, text))
    };
    table.entries().into_iter().filter_map(entry).collect()
}
