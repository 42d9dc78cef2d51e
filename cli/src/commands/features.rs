//! `neartime features`: what runs, what is off, and how far each has come.

use neartime_tasks_db::FeatureStanding;

use crate::app::App;
use crate::output::{self, Cell};
use crate::registry::Off;

pub(crate) const COLUMNS: [&str; 12] = [
    "feature",
    "engine",
    "source",
    "version",
    "keys",
    "state",
    "freshness",
    "rows",
    "runs_done",
    "runs_waiting",
    "runs_parked",
    "note",
];

pub(crate) async fn execute(app: &App) -> anyhow::Result<()> {
    output::print(app.format(), &COLUMNS, None, rows(app).await?)
}

/// One row a feature: those that run, then those that are off, then those that only the task database knows.
pub(crate) async fn rows(app: &App) -> anyhow::Result<Vec<Vec<Cell>>> {
    let registry = app.registry()?;
    let mut standings = app.tasks().await?.features().await?;
    let mut take = |name: &str| {
        let at = standings.iter().position(|standing| standing.name.as_str() == name)?;
        Some(standings.remove(at))
    };
    let mut rows = Vec::new();
    for feature in registry.sources.iter().flat_map(|source| &source.features) {
        let table = feature.table();
        let keys: Vec<_> = table.output.row_key().map(|key| key.name.to_string()).collect();
        let standing = take(table.name.as_str());
        let newer = standing.as_ref().filter(|standing| standing.newest > table.version);
        let note = newer.map(|standing| format!("version {} has run here", standing.newest));
        let about = [table.engine.into(), table.source.as_str().into(), table.version.0.into(), keys.join(", ").into()];
        rows.push(row(table.name.as_str(), about, "on", standing, note));
    }
    for Off { feature, engine, source, version, reason } in registry.off {
        let about = [engine.into(), source.into(), version.into(), Cell::Null];
        let standing = take(&feature);
        rows.push(row(&feature, about, "off", standing, Some(reason)));
    }
    for standing in standings {
        let about = [Cell::Null, Cell::Null, standing.newest.0.into(), Cell::Null];
        let (name, note) = (standing.name.to_string(), "neither this binary nor the configuration has it".to_owned());
        rows.push(row(&name, about, "gone", Some(standing), Some(note)));
    }
    Ok(rows)
}

fn row(
    name: &str,
    about: [Cell; 4],
    state: &str,
    standing: Option<FeatureStanding>,
    note: Option<String>,
) -> Vec<Cell> {
    let [engine, source, version, keys] = about;
    let count = |of: fn(&FeatureStanding) -> u64| standing.as_ref().map_or(0, of);
    vec![
        name.into(),
        engine,
        source,
        version,
        keys,
        state.into(),
        standing.as_ref().and_then(|standing| standing.newest_done_end).into(),
        count(|standing| standing.rows).into(),
        count(|standing| standing.done).into(),
        count(|standing| standing.waiting).into(),
        count(|standing| standing.parked).into(),
        note.into(),
    ]
}
