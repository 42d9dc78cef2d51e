//! `neartime air`: makes the Audience Index Report, and shows the live one.

use std::sync::Arc;

use futures::TryStreamExt as _;
use neartime_air::{Bar, Publisher, Row, ShowQuery, Sort};

use crate::air::Report;
use crate::app::App;
use crate::args::{AirCommand, AirShowArgs, AirSort, Format};
use crate::clients::publisher;
use crate::exit::Invalid;
use crate::output::{Cell, Rows, printable};
use crate::progress::Progress;

/// Of CSV and JSON.
const COLUMNS: [&str; 15] = [
    "site",
    "site_name",
    "segment",
    "segment_name",
    "segment_group",
    "segment_users",
    "group_users",
    "segment_site_users",
    "group_site_users",
    "index_value",
    "z_score",
    "index_low",
    "index_high",
    "significant",
    "suppressed",
];
/// Of the table for people.
const SHOWN: [&str; 7] = ["site", "group", "segment", "users", "index", "95 % interval", "12.5 … 100 … 800"];

pub(crate) async fn execute(app: &App, command: AirCommand) -> anyhow::Result<()> {
    match command {
        AirCommand::Run { as_of } => run(app, as_of).await,
        AirCommand::Show(args) => show(app, args).await,
    }
}

async fn run(app: &App, as_of: Option<neartime_model::Instant>) -> anyhow::Result<()> {
    let report = Report::open(app, &app.registry()?).await?;
    let progress = Arc::new(Progress::begin("making the report"));
    let told = Arc::clone(&progress);
    let report = report.watched(neartime_air::Progress::new(move |stage| told.tell(stage)));
    let made = match report.next_fence().await {
        Ok(fence) => report.run(as_of, fence).await,
        Err(error) => Err(error),
    };
    progress.finish();
    if let Some(as_of) = as_of.filter(|as_of| *as_of > app.clock().now()) {
        eprintln!("warning: {as_of} lies in the future: what is yet to come until then is missing from the report");
    }
    let Some(made) = made? else {
        eprintln!("no chunk of the report's features is done yet: `neartime run --once` comes first");
        return Ok(());
    };
    if !made.ungrouped.is_empty() {
        let name = |(segment, users): &(String, u32)| format!("{} ({users} users)", printable(segment));
        let names: Vec<_> = made.ungrouped.iter().map(name).collect();
        eprintln!("warning: {} segments are in no group: {}", names.len(), names.join(", "));
    }
    if made.is_empty() {
        eprintln!("warning: the report has no rows: as of {}, nobody of any group was on any site", made.as_of);
    } else if made.suppressed() == made.len() {
        eprintln!("warning: every cell is suppressed; see min_overlap and min_site_audience in [air]");
    }
    eprintln!("as of {}: {} rows, {} of them suppressed", made.as_of, made.len(), made.suppressed());
    Ok(())
}

async fn show(app: &App, args: AirShowArgs) -> anyhow::Result<()> {
    let sort = args.sort.map(|sort| match sort {
        AirSort::Index => Sort::Index,
        AirSort::Users => Sort::Users,
        AirSort::Z => Sort::Z,
    });
    let query = ShowQuery { site: args.site, group: args.group, min_users: args.min_users, sort, limit: None };
    print(app, app.format(), query, args.limit.limit).await
}

/// Prints rows of the live report.
pub(crate) async fn print(app: &App, format: Format, query: ShowQuery, limit: Option<usize>) -> anyhow::Result<()> {
    let Some(air) = &app.config().air else {
        return Err(Invalid("there is no report to show: add [air] to the configuration".to_owned()).into());
    };
    let publisher = publisher(air).await?;
    if publisher.live().await?.is_none() {
        eprintln!("no report is published yet: `neartime air run` makes one");
    }
    let columns: &[&str] = if format == Format::Table { &SHOWN } else { &COLUMNS };
    let cells: fn(Row<String>) -> Vec<Cell> = if format == Format::Table { shown } else { complete };
    let mut rows = publisher.show(&query);
    let mut out = Rows::begin(format, columns, limit)?;
    while let Some(row) = rows.try_next().await? {
        if !out.row(&cells(row))? {
            break;
        }
    }
    if out.finish()? == 0 && limit != Some(0) {
        hint(&*publisher, query).await?;
    }
    Ok(())
}

/// Says which of the names that were asked for the report does not have.
async fn hint(publisher: &dyn Publisher, query: ShowQuery) -> anyhow::Result<()> {
    if publisher.live().await?.is_none() {
        return Ok(());
    }
    let site = query.site.map(|site| ("site", site.clone(), ShowQuery { site: Some(site), ..ShowQuery::default() }));
    let group =
        query.group.map(|name| ("group", name.clone(), ShowQuery { group: Some(name), ..ShowQuery::default() }));
    for (kind, name, query) in site.into_iter().chain(group) {
        if publisher.show(&ShowQuery { limit: Some(1), ..query }).try_next().await?.is_none() {
            eprintln!("there is no {kind} `{}` in the live report", printable(&name));
        }
    }
    Ok(())
}

fn complete(row: Row<String>) -> Vec<Cell> {
    vec![
        row.site.into(),
        row.site_name.into(),
        row.segment.into(),
        row.segment_name.into(),
        row.segment_group.into(),
        row.segment_users.into(),
        row.group_users.into(),
        row.segment_site_users.into(),
        row.group_site_users.into(),
        row.index_value.into(),
        row.z_score.into(),
        row.index_low.into(),
        row.index_high.into(),
        row.significant.into(),
        row.suppressed.into(),
    ]
}

fn shown(row: Row<String>) -> Vec<Cell> {
    let bar = Bar::new(row.index_value, row.significant);
    let interval = match (row.index_low, row.index_high) {
        (Some(low), Some(high)) => format!("{low:.0} to {high:.0}"),
        _ if row.suppressed => "suppressed".to_owned(),
        _ => String::new(),
    };
    vec![
        row.site_name.unwrap_or(row.site).into(),
        row.segment_group.into(),
        row.segment_name.unwrap_or(row.segment).into(),
        row.segment_site_users.into(),
        row.index_value.map(|index| Cell::Number(format!("{index:.1}"))).unwrap_or(Cell::Null),
        interval.into(),
        Cell::Bar(bar),
    ]
}
