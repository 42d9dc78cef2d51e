//! Whether a feature's times are those of its events, asked of its own plan.

use datafusion::common::Column;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

use crate::planner::is_events;

/// The column by which all engines know the time of a row.
const TIMESTAMP: &str = "timestamp";
/// The start of an event's chunk.
const DATA_CHUNK: &str = "data_chunk";

/// Whether the `timestamp` that a plan yields is the events' column `event_time`, or their chunk's start, as it is.
/// Where a plan does more with it than to hand it on, the answer is no.
pub(crate) fn keeps_event_time(plan: &LogicalPlan, event_time: &str) -> bool {
    let at = plan.schema().index_of_column_by_name(None, TIMESTAMP);
    at.and_then(|at| events_column(plan, at)).is_some_and(|column| column == event_time || column == DATA_CHUNK)
}

/// The column of the events that a plan hands on as its column `at`, if it is one.
fn events_column(plan: &LogicalPlan, at: usize) -> Option<&str> {
    match plan {
        LogicalPlan::TableScan(scan) => is_events(scan).then(|| scan.projected_schema.field(at).name().as_str()),
        LogicalPlan::Projection(projection) => through(&projection.input, projection.expr.get(at)?),
        LogicalPlan::Aggregate(aggregate) => through(&aggregate.input, aggregate.group_expr.get(at)?),
        LogicalPlan::Filter(filter) => events_column(&filter.input, at),
        LogicalPlan::Sort(sort) => events_column(&sort.input, at),
        LogicalPlan::Limit(limit) => events_column(&limit.input, at),
        LogicalPlan::Distinct(Distinct::All(input)) => events_column(input, at),
        LogicalPlan::SubqueryAlias(alias) => events_column(&alias.input, at),
        // Its own columns come after those of its input.
        LogicalPlan::Window(window) if at < window.input.schema().fields().len() => events_column(&window.input, at),
        _ => None,
    }
}

fn through<'p>(input: &'p LogicalPlan, expr: &Expr) -> Option<&'p str> {
    match expr {
        Expr::Alias(alias) => through(input, &alias.expr),
        Expr::Column(column) => events_column(input, place(input, column)?),
        _ => None,
    }
}

fn place(input: &LogicalPlan, column: &Column) -> Option<usize> {
    input.schema().index_of_column(column).ok()
}
