//! The one aggregation behind transforming a chunk and merging chunks.

use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::prelude::{DataFrame, Expr, ident};

use crate::Aggregate;
use crate::functions::exact_sum;

/// Groups `rows` by the row key and aggregates every other column; keeps names and order of the columns, with the row
/// key first.
pub(crate) fn fold(rows: DataFrame, row_key: &[String], of: impl Fn(&str) -> Aggregate) -> Result<DataFrame> {
    let is_value = |name: &&String| !row_key.contains(name);
    let columns: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    let aggregates: Vec<Expr> = columns.iter().filter(is_value).map(|name| aggregate(of(name), name)).collect();
    rows.aggregate(row_key.iter().map(ident).collect(), aggregates)
}

fn aggregate(aggregate: Aggregate, column: &str) -> Expr {
    let values = ident(column);
    let folded = match aggregate {
        Aggregate::Sum => exact_sum(values),
        Aggregate::Min => min(values),
        Aggregate::Max => max(values),
    };
    folded.alias(column)
}
