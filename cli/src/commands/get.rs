//! `neartime get`: online lookup by entity.

use std::sync::Arc;

use neartime_engine::CompiledFeature;
use neartime_model::FeatureName;

use crate::app::App;
use crate::args::GetArgs;
use crate::exit::Invalid;
use crate::output::{Rows, names};

pub(crate) async fn execute(app: &App, args: GetArgs) -> anyhow::Result<()> {
    let GetArgs { feature, id, window, as_of } = args;
    if let Some(window) = window {
        let width = app.registry()?.feature(&feature)?.table().width;
        if window < width.span() {
            let text = format!("--window {window} is shorter than the chunks of `{feature}`: take {width} or more");
            return Err(Invalid(text).into());
        }
    }
    let chunks = window.map(|window| {
        let end = as_of.unwrap_or_else(|| app.clock().now());
        end - window..end
    });
    let rows = lookup(app, &feature, &id, chunks).await?;
    let mut out = Rows::begin(app.format(), &names(&rows.schema()), None)?;
    out.batch(&rows)?;
    out.finish()?;
    Ok(())
}

/// The rows of one entity, folded over `chunks` (all there are, if none are named).
pub(crate) async fn lookup(
    app: &App,
    feature: &FeatureName,
    id: &str,
    chunks: Option<std::ops::Range<neartime_model::Instant>>,
) -> anyhow::Result<datafusion::arrow::array::RecordBatch> {
    let feature: Arc<CompiledFeature> = app.registry()?.feature(feature)?;
    let online = app.online().await?.ok_or_else(|| {
        Invalid("there is no online store to ask: add [online_store] to the configuration".to_owned())
    })?;
    if !online.check(feature.table()).await? {
        let name = &feature.table().name;
        eprintln!("nothing of `{name}` has been published yet: its online table is made by `neartime run`");
    }
    let rows = neartime_stores::lookup(&*online, feature.table(), feature.engine().as_ref(), id, chunks).await?;
    Ok(rows)
}
