//! `neartime athena ddl`: the statements that make features tables of Amazon Athena.

use neartime_stores::athena;

use crate::app::App;
use crate::args::AthenaCommand;
use crate::config::Place;
use crate::exit::Invalid;
use crate::output;

pub(crate) fn execute(app: &App, command: AthenaCommand) -> anyhow::Result<()> {
    let AthenaCommand::Ddl { feature } = command;
    let place = &app.config().features_store;
    if let Place::Directory { .. } = place {
        let problem = format!("Athena reads buckets only: the features store is the directory {place}");
        return Err(Invalid(problem).into());
    }
    let registry = app.registry()?;
    let features = match feature {
        Some(name) => vec![registry.feature(&name)?],
        None => registry.sources.into_iter().flat_map(|source| source.features).collect(),
    };
    for feature in features {
        output::line(athena::ddl(feature.table(), &place.to_string()).trim_end())?;
    }
    Ok(())
}
