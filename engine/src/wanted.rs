//! What a feature needs of its source, asked of its own plan.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Filter, LogicalPlan, Operator, TableScan, lit};

use crate::planner::is_events;

/// What has to be read of a source for one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The columns that the feature reads, in the source's order.
    pub columns: Vec<String>,
    /// Conditions over these columns that a row must fulfil all to matter to the feature, none of which can fail;
    /// `None` if every row matters. A reader may drop the other rows, and need not: the feature's plan asks again.
    pub rows: Option<Vec<Expr>>,
}

impl Wanted {
    /// Reads what DataFusion has pushed down to the scan of the events in an optimised plan.
    pub(crate) fn of(plan: &LogicalPlan) -> Result<Self> {
        // A condition that is never true leaves a plan without a scan.
        let mut wanted = Self { columns: Vec::new(), rows: Some(vec![lit(false)]) };
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && is_events(scan)
            {
                wanted = Self::of_scan(scan)?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(wanted)
    }

    fn of_scan(scan: &TableScan) -> Result<Self> {
        let columns = scan.projected_schema.fields().iter().map(|field| field.name().clone()).collect();
        let plain = scan.filters.iter().filter(|filter| is_plain(filter));
        let rows = plain.map(|filter| unqualified(filter.clone())).collect::<Result<Vec<_>>>()?;
        Ok(Self { columns, rows: (!rows.is_empty()).then_some(rows) })
    }
}

/// Puts the conditions that may fail on a row behind those that cannot, each in a filter of its own, so that how often
/// they are evaluated (and counted) does not depend on how rows are cut into batches.
pub(crate) fn split_filters(plan: LogicalPlan) -> Result<LogicalPlan> {
    let split = plan.transform_up(|node| {
        let LogicalPlan::Filter(filter) = node else {
            return Ok(Transformed::no(node));
        };
        let (plain, other): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(filter.predicate).into_iter().partition(is_plain);
        let mut input = filter.input;
        for condition in conjunction(plain).into_iter().chain(other) {
            input = Arc::new(LogicalPlan::Filter(Filter::try_new(condition, input)?));
        }
        Ok(Transformed::yes(Arc::unwrap_or_clone(input)))
    })?;
    Ok(split.data)
}

/// Whether a condition is made of comparisons, lists, LIKE, null tests and logic alone: cheap, and free of anything
/// that may fail.
fn is_plain(condition: &Expr) -> bool {
    let plain = |expr: &Expr| match expr {
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Like(_)
        // What is left of casts always fits.
        | Expr::Cast(Cast { .. }) => true,
        Expr::BinaryExpr(BinaryExpr { op, .. }) => compares(*op) || op.is_logic_operator(),
        _ => false,
    };
    !condition.exists(|expr| Ok(!plain(expr))).unwrap_or(true)
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The same condition over the bare names of the source's columns.
fn unqualified(condition: Expr) -> Result<Expr> {
    let bare = condition.transform_up(|expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        expr => Ok(Transformed::no(expr)),
    })?;
    Ok(bare.data)
}
