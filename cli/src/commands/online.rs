//! `neartime online rebuild`: replays Parquet, which is the truth, into the online store.

use std::sync::Arc;

use anyhow::Context as _;
use neartime_scheduler::{Scheduler, Unobserved};

use crate::app::App;
use crate::args::OnlineCommand;
use crate::exit::Invalid;
use crate::progress::Progress;

pub(crate) async fn execute(app: &App, command: OnlineCommand) -> anyhow::Result<()> {
    let OnlineCommand::Rebuild { feature: name } = command;
    let registry = app.registry()?;
    let feature = registry.feature(&name)?;
    let edges = app.edges(registry, Arc::new(Unobserved)).await?;
    let online = edges.online.clone().ok_or_else(|| {
        Invalid("there is no online store to rebuild: add [online_store] to the configuration".to_owned())
    })?;
    let scheduler = Scheduler::new(edges, app.settings()).context("could not start the scheduler")?;
    let progress = Progress::begin(format_args!("rebuilding {name}"));
    let tell = |done: neartime_stores::Rebuilt| {
        progress.tell(format_args!("{name}: {} files, {} rows replayed", done.files, done.rows));
    };
    let rebuilt = scheduler.rebuild(&feature, &online, tell).await;
    progress.finish();
    let rebuilt = rebuilt?;
    eprintln!("{name}: {} files and {} rows replayed", rebuilt.files, rebuilt.rows);
    Ok(())
}
