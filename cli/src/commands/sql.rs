//! `neartime sql`: the features store, the raw files and the quarantine as tables.

use anyhow::Context as _;
use neartime_stores::Answer;

use crate::app::App;
use crate::args::SqlArgs;
use crate::output::{Rows, names};

pub(crate) async fn execute(app: &App, args: SqlArgs) -> anyhow::Result<()> {
    let limit = args.limit.limit;
    let answer = app.session().await?.query_large(&args.query, limit).await?;
    let mut rows = Rows::begin(app.format(), &names(&answer.schema), limit)?;
    for batch in answer.batches {
        let batch = batch.context("could not read the rows of the answer that were put on disk")?;
        if !rows.batch(&batch)? {
            break;
        }
    }
    rows.finish()?;
    eprintln!("run time {:.3} s, {} bytes scanned", answer.elapsed.as_secs_f64(), answer.scanned_bytes);
    Ok(())
}

pub(crate) async fn answer(app: &App, query: &str) -> anyhow::Result<Answer> {
    Ok(app.session().await?.query(query).await?)
}
