//! Puts attempts where a plan could fail.

use std::any::Any;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchemaRef, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, Like, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, Volatility, lit};
use datafusion::prelude::not;

use super::{Attempt, Operation};
use crate::Counts;
use crate::functions::{clean_str_udf, epoch_seconds_udf, ratio_udf};
use crate::planner::state;

/// Functions that simplify into others that simplify again; no chain in DataFusion is longer than two.
const SIMPLIFICATIONS: usize = 4;

/// Rewrites an analysed (type-coerced) plan so that no expression of it can fail on a row. It has to come before the
/// optimizer, which evaluates constants (`1.0 / 0`) and turns `cast(x as int) <> 1` into a comparison of texts.
pub(crate) fn rewrite(plan: LogicalPlan, config: &Arc<ConfigOptions>, counts: &Arc<Counts>) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let schema = Arc::new(merge_schema(&plan.inputs()));
        let rewriter = Rewriter { schema, config, counts };
        let names = NamePreserver::new(&plan);
        let plan = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(Transformed::yes(name.restore(rewriter.expression(expr)?)))
        })?;
        plan.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(rewritten.data)
}

/// Makes every attempt of a plan count in `counts`.
pub(crate) fn recount(expr: Expr, counts: &Arc<Counts>) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match &expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => match func.inner().downcast_ref::<Attempt>() {
            Some(attempt) => {
                let func = Arc::new(ScalarUDF::from(attempt.counted_in(counts)));
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: args.clone() })))
            }
            None => Ok(Transformed::no(expr)),
        },
        _ => Ok(Transformed::no(expr)),
    })
}

struct Rewriter<'a> {
    schema: DFSchemaRef,
    config: &'a Arc<ConfigOptions>,
    counts: &'a Arc<Counts>,
}

impl Rewriter<'_> {
    fn expression(&self, mut expr: Expr) -> Result<Expr> {
        for _ in 0..SIMPLIFICATIONS {
            let simplified = expr.transform_up(|expr| self.simplify(expr))?;
            expr = simplified.data;
            if !simplified.transformed {
                break;
            }
        }
        Ok(expr.transform_up(|expr| self.guard(expr))?.data)
    }

    /// What a function calls itself: `coalesce` is a CASE, `arrow_cast` a cast, `regexp_like` with a constant a LIKE.
    fn simplify(&self, expr: Expr) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
            return Ok(Transformed::no(expr));
        };
        if is_known(&func) && func.signature().volatility != Volatility::Immutable {
            return plan_err!(
                "`{}` gives other values each time: the same events must give the same rows",
                func.name()
            );
        }
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(&self.schema))
            .with_config_options(Arc::clone(self.config))
            .build();
        Ok(match func.simplify(args, &context)? {
            ExprSimplifyResult::Simplified(expr) => Transformed::yes(expr),
            ExprSimplifyResult::Original(args) => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
        })
    }

    fn guard(&self, expr: Expr) -> Result<Transformed<Expr>> {
        match expr {
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
                self.cast(*expr, field.data_type())
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.binary(*left, op, *right),
            Expr::Negative(negated) => {
                let data_type = negated.get_type(&self.schema)?;
                if !data_type.is_signed_integer() {
                    return Ok(Transformed::no(Expr::Negative(negated)));
                }
                let zero = datafusion::scalar::ScalarValue::new_zero(&data_type)?;
                Ok(self.attempt(Operation::Binary(Operator::Minus), vec![lit(zero), *negated]))
            }
            Expr::SimilarTo(like) => Ok(self.similar_to(like)),
            Expr::ScalarFunction(ScalarFunction { func, args }) if !goes_unguarded(&func) => {
                Ok(self.attempt(Operation::Function(func), args))
            }
            Expr::HigherOrderFunction(_) => plan_err!("functions of functions are not supported in a feature"),
            expr => Ok(Transformed::no(expr)),
        }
    }

    fn cast(&self, expr: Expr, to: &DataType) -> Result<Transformed<Expr>> {
        let from = expr.get_type(&self.schema)?;
        Ok(match () {
            () if from == *to => Transformed::yes(expr),
            () if always_fits(&from, to) => Transformed::yes(expr.cast_to(to, self.schema.as_ref())?),
            () => self.attempt(Operation::Cast(to.clone()), vec![expr]),
        })
    }

    fn binary(&self, left: Expr, op: Operator, right: Expr) -> Result<Transformed<Expr>> {
        use Operator::{Divide, Minus, Modulo, Multiply, Plus, RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
        let fails = match op {
            Divide | Modulo => true,
            Plus | Minus | Multiply => {
                !(left.get_type(&self.schema)?.is_floating() && right.get_type(&self.schema)?.is_floating())
            }
            RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch => !is_valid_pattern(&right),
            _ => false,
        };
        Ok(if fails {
            self.attempt(Operation::Binary(op), vec![left, right])
        } else {
            Transformed::no(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        })
    }

    fn similar_to(&self, like: Like) -> Transformed<Expr> {
        let op = if like.case_insensitive { Operator::RegexIMatch } else { Operator::RegexMatch };
        let matched = self.attempt(Operation::Binary(op), vec![*like.expr, *like.pattern]).data;
        Transformed::yes(if like.negated { not(matched) } else { matched })
    }

    fn attempt(&self, operation: Operation, args: Vec<Expr>) -> Transformed<Expr> {
        let attempt = Attempt::new(operation, Arc::clone(self.counts));
        Transformed::yes(ScalarUDF::from(attempt).call(args))
    }
}

/// Own functions, and those that choose among their arguments. What an author has written in Rust is not guarded
/// either: a panic or an error of it is a fault of the feature, which fails the run and is shown.
fn goes_unguarded(function: &ScalarUDF) -> bool {
    let own = [clean_str_udf(), epoch_seconds_udf(), ratio_udf()];
    own.iter().any(|own| **own == *function) || function.short_circuits() || !is_known(function)
}

/// Whether a function is one of DataFusion's (or our own), which is all that the configuration can name.
fn is_known(function: &ScalarUDF) -> bool {
    let type_of = |function: &ScalarUDF| (function.inner().as_ref() as &dyn Any).type_id();
    let known = state().scalar_functions().get(function.name());
    known.is_some_and(|known| type_of(known) == type_of(function))
}

fn is_valid_pattern(pattern: &Expr) -> bool {
    match pattern {
        Expr::Literal(pattern, _) => pattern.try_as_str().flatten().is_none_or(|text| regex::Regex::new(text).is_ok()),
        _ => false,
    }
}

/// Whether a conversion has a value for every input; the optimizer sees through these.
fn always_fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{Boolean, Date32, Float32, Float64, Null, Timestamp};
    let bits = |data_type: &DataType| data_type.primitive_width().unwrap_or(0) * 8;
    match (from, to) {
        (Null, _) => true,
        (from, to) if is_text(to) => is_text(from) || from.is_numeric() || *from == Boolean,
        (Boolean, to) => to.is_integer() || to.is_floating(),
        (from, Float32 | Float64) if from.is_integer() => true,
        (Float32, Float64) => true,
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => bits(from) <= bits(to),
        (from, to) if from.is_unsigned_integer() && to.is_unsigned_integer() => bits(from) <= bits(to),
        (from, to) if from.is_unsigned_integer() && to.is_signed_integer() => bits(from) < bits(to),
        // The same instants under another zone.
        (Timestamp(from, Some(_)), Timestamp(to, Some(_))) | (Timestamp(from, None), Timestamp(to, None)) => from == to,
        (Date32, Timestamp(unit, None)) => *unit != datafusion::arrow::datatypes::TimeUnit::Nanosecond,
        _ => false,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
