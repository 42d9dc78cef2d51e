//! `neartime source setup`: what a source's bucket needs, so that we hear of its files and a partner may read them.

use crate::app::App;
use crate::args::SourceCommand;
use crate::clients::SetUp;
use crate::config::{Channel, Place};
use crate::exit::Invalid;
use crate::output;

/// Prints the notification and the policies as JSON, each part as the AWS command line takes it.
pub(crate) async fn execute(app: &App, command: SourceCommand) -> anyhow::Result<()> {
    let SourceCommand::Setup { source, readers, apply } = command;
    let sources = &app.config().sources;
    let Some(found) = sources.iter().find(|known| known.source.name == source) else {
        let known: Vec<_> = sources.iter().map(|known| format!("`{}`", known.source.name)).collect();
        return Err(Invalid(format!("there is no source `{source}`, only {}", known.join(", "))).into());
    };
    let Place::Bucket { bucket, prefix } = &found.location else {
        let problem =
            format!("the source `{source}` lies in the directory {}: only buckets are set up", found.location);
        return Err(Invalid(problem).into());
    };
    let queue = found.channels.iter().find_map(|channel| match channel {
        Channel::Sqs { queue } => Some(queue.clone()),
        Channel::Kinesis { .. } => None,
    });
    let wanted = SetUp { source, bucket: bucket.clone(), prefix: prefix.clone(), queue, readers };
    let (plan, warnings) = app.cloud()?.set_up(wanted, apply).await?;
    output::line(format!("{plan:#}"))?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    eprintln!("{}", if apply { "applied" } else { "nothing is changed: --apply writes it" });
    Ok(())
}
