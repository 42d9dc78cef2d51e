//! `neartime check`: everything that can be known before anything is processed.

mod connections;

pub(crate) use connections::Unreachable;

use std::sync::Arc;

use neartime_ingest::{Discovered, Due, Scope, Source};
use neartime_model::Span;
use neartime_scheduler::{Edges, SourceWork, Unobserved};
use tokio::sync::mpsc;

use crate::air;
use crate::app::App;
use crate::args::Format;
use crate::config::Place;
use crate::exit;
use crate::output::{self, Cell, printable};
use crate::registry::Off;

const COLUMNS: [&str; 9] =
    ["source", "location", "files", "unmatched", "chunk", "delay", "due", "worst_case_age", "features"];

pub(crate) async fn execute(app: &App) -> anyhow::Result<()> {
    let registry = app.registry()?;
    let report = app.config().air.as_ref().map(|air| air::config(air, &registry)).transpose()?;
    let off = registry.off.iter().map(off).collect::<Vec<_>>();
    let edges = app.edges(registry, Arc::new(Unobserved)).await?;
    edges.check().await?;
    let mut refusals = connections::check(app, &edges).await;
    let mut warnings = warnings(app, &edges);
    warnings.extend(lost_store(app, &edges).await?);
    if let (Some(report), true) = (&report, refusals.is_empty()) {
        warnings.extend(air::surprises(app, report).await?);
    }
    let mut rows = Vec::new();
    for work in &edges.sources {
        if !edges.is_listed(work) {
            rows.push(row(work, None));
            continue;
        }
        match list(&work.source).await {
            Ok(listed) => {
                warnings.extend(listing_warning(&work.source, &listed));
                rows.push(row(work, Some(&listed)));
            }
            Err(error) => refusals.push(error),
        }
    }
    edges.tasks.close().await;
    output::print(app.format(), &COLUMNS, None, rows)?;
    for note in off {
        eprintln!("{note}");
    }
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if let Some(last) = refusals.pop() {
        refusals.iter().for_each(exit::show);
        return Err(last);
    }
    if app.format() == Format::Table {
        eprintln!("the configuration can run");
    }
    Ok(())
}

fn off(off: &Off) -> String {
    format!("off: {} ({})", off.feature, off.reason)
}

/// A features store that is not where runs have published into it before.
async fn lost_store(app: &App, edges: &Edges) -> anyhow::Result<Option<String>> {
    let Place::Directory { written, path } = &app.config().features_store else { return Ok(None) };
    let done: u64 = edges.tasks.features().await?.iter().map(|feature| feature.done).sum();
    Ok((done > 0 && !path.exists()).then(|| {
        format!("the features store {written} is not there, though {done} runs are done: `sql` finds nothing of them")
    }))
}

/// What lies in a source's location.
async fn list(source: &Source) -> anyhow::Result<Discovered> {
    let (sender, mut batches) = mpsc::channel(1);
    let drain = async move { while batches.recv().await.is_some() {} };
    let walk = async move { neartime_ingest::discover(source, Scope::Everything, &sender).await };
    let (listed, ()) = tokio::join!(walk, drain);
    Ok(listed?)
}

fn listing_warning(source: &Source, listed: &Discovered) -> Option<String> {
    let (name, unmatched) = (&source.name, listed.unmatched);
    if unmatched > 0 {
        let examples: Vec<_> = listed.unmatched_examples.iter().map(|key| printable(key)).collect();
        let examples = examples.join(", ");
        return Some(format!("{unmatched} files of `{name}` do not fit its layout and are left alone: {examples}"));
    }
    (listed.matched == 0).then(|| match source.since {
        Some(since) => format!("no file of `{name}` is there that lies at or after its `since` of {since}"),
        None => format!("no file of `{name}` is there yet"),
    })
}

fn row(work: &SourceWork, listed: Option<&Discovered>) -> Vec<Cell> {
    let source = &work.source;
    let (due, age) = match source.due {
        Due::End => ("end", Some(in_units(worst_case_age(source)))),
        // How old the data is then, only its producer knows.
        Due::Landing => ("landing", None),
    };
    let features: Vec<_> = work.features.iter().map(|feature| feature.table().name.to_string()).collect();
    vec![
        source.name.as_str().into(),
        source.location.to_string().into(),
        listed.map(|listed| listed.matched).into(),
        listed.map(|listed| listed.unmatched).into(),
        source.width.to_string().into(),
        source.delay.to_string().into(),
        due.into(),
        age.into(),
        features.join(", ").into(),
    ]
}

/// How old an event at the very start of a chunk is when the chunk becomes due.
fn worst_case_age(source: &Source) -> Span {
    source.width.span() + source.delay
}

/// `1d 3m`: the units of the width and of the delay beside each other.
fn in_units(span: Span) -> String {
    let mut left = span.as_micros();
    let mut parts = Vec::new();
    for unit in [Span::from_days(1), Span::from_mins(60), Span::from_mins(1)] {
        let whole = left - left % unit.as_micros();
        if whole != 0 {
            parts.push(Span::from_micros(whole).to_string());
        }
        left -= whole;
    }
    if left != 0 || parts.is_empty() {
        parts.push(Span::from_micros(left).to_string());
    }
    parts.join(" ")
}

/// What would surprise.
fn warnings(app: &App, edges: &Edges) -> Vec<String> {
    let mut warnings = Vec::new();
    for work in &edges.sources {
        let source = &work.source;
        if work.features.is_empty() {
            warnings.push(format!("no feature reads `{}`: its tasks wait until one does", source.name));
        }
        if source.look_back < source.width.span() {
            let (name, back, width) = (&source.name, source.look_back, source.width);
            warnings.push(format!(
                "`{name}` looks back {back} only, less than its chunk of {width}: late files wait for the daily listing"
            ));
        }
        if source.delay < Span::ZERO {
            warnings.push(format!("`{}` becomes due before its chunk ends", source.name));
        }
        if edges.online.is_some() {
            warnings.extend(work.features.iter().filter_map(|feature| {
                let (table, retention) = (feature.table(), feature.table().retention?);
                (retention < worst_case_age(source)).then(|| {
                    format!(
                        "rows of `{}` are older than its retention of {retention} when they are published",
                        table.name
                    )
                })
            }));
        }
    }
    for source in &app.config().sources {
        let name = &source.source.name;
        let unused =
            |channel| format!("[source.{channel}] of `{name}` is not used: its `discover` names no \"{channel}\"");
        warnings.extend(source.idle.iter().map(unused));
    }
    if edges.online.is_none() {
        warnings
            .push("there is no [online_store]: features go to Parquet only, and `get` has nothing to ask".to_owned());
    }
    if let Some(console) = app.config().console.as_ref().filter(|console| !console.listen.ip().is_loopback()) {
        warnings.push(format!(
            "the console listens on {}: whoever reaches it sees metrics and source names",
            console.listen
        ));
    }
    if app.config().run.deadline < app.config().run.lease {
        warnings.push("the deadline of [run] is shorter than its lease".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_in_their_units() {
        for (mins, text) in [(13, "13m"), (1_443, "1d 3m"), (60, "1h"), (1_505, "1d 1h 5m"), (0, "0s")] {
            assert_eq!(in_units(Span::from_mins(mins)), text);
        }
        assert_eq!(in_units(Span::from_secs(61)), "1m 1s");
    }
}
