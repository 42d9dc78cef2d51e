//! `neartime backfill`: runs a feature over older tasks, in a lane of their own.

use std::sync::Arc;

use neartime_scheduler::Unobserved;
use neartime_tasks_db::BackfillRequest;

use crate::app::App;
use crate::args::{BackfillArgs, Format};
use crate::exit::Invalid;
use crate::output;

pub(crate) async fn execute(app: &App, args: BackfillArgs) -> anyhow::Result<()> {
    let BackfillArgs { feature, from, to } = args;
    if from >= to {
        return Err(Invalid(format!("--from {from} must be before --to {to}")).into());
    }
    let registry = app.registry()?;
    let table = Arc::clone(registry.feature(&feature)?.table());
    let edges = app.edges(registry, Arc::new(Unobserved)).await?;
    // A feature that no run has met yet is not known to the task database.
    edges.declare().await?;
    let request = BackfillRequest { feature, version: table.version, source: table.source.clone(), from, to };
    let armed = edges.tasks.backfill(&request).await?;
    match app.format() {
        Format::Table => output::line(format_args!("{armed} tasks are due again for `{}`", table.name)),
        format => output::print(format, &["armed"], None, vec![vec![armed.into()]]),
    }
}
