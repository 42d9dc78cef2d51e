//! `exact_sum(number)`: the same bits whatever the order and the parallelism.
//!
//! Ints are summed in 128 bits and must fit 64 in the end; floats are summed without any rounding and rounded once, to
//! the nearest double. Both are therefore associative, so that chunks can be summed in parts.

mod accumulator;
mod total;
mod wide;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};
use datafusion::prelude::Expr;

use accumulator::{GroupSums, Sum};
pub(crate) use total::overflow;
use total::{FloatTotal, IntTotal};

/// The exact sum of ints (Int64, an error when it does not fit) or floats (Float64, rounded once).
///
/// Nulls are ignored, the sum of nothing is null. An infinity stays, two of different signs or a NaN give NaN.
pub fn exact_sum(number: Expr) -> Expr {
    exact_sum_udaf().call(vec![number])
}

/// The function behind [`exact_sum`].
pub fn exact_sum_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::from(ExactSum { signature: Signature::user_defined(Volatility::Immutable) }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactSum {
    signature: Signature,
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        "exact_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [int] if int.is_integer() && *int != DataType::UInt64 => Ok(vec![DataType::Int64]),
            [number] if number.is_numeric() => Ok(vec![DataType::Float64]),
            _ => plan_err!("exact_sum takes one int or float, not {types:?}"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[exact]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("exact_sum knows no DISTINCT");
        }
        Ok(match args.return_type() {
            DataType::Int64 => Box::new(Sum::<Int64Type, IntTotal>::default()),
            _ => Box::new(Sum::<Float64Type, FloatTotal>::default()),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match args.return_type() {
            DataType::Int64 => Box::new(GroupSums::<Int64Type, IntTotal>::default()),
            _ => Box::new(GroupSums::<Float64Type, FloatTotal>::default()),
        })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[cfg(test)]
mod tests;
