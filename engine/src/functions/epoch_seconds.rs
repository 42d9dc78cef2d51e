//! `epoch_seconds(timestamp)`.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::Expr;

/// Whole seconds since the epoch of a timestamp of any unit, floored, also before 1970 (Int64; null of null).
pub fn epoch_seconds(timestamp: Expr) -> Expr {
    epoch_seconds_udf().call(vec![timestamp])
}

/// The function behind [`epoch_seconds`].
pub fn epoch_seconds_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::from(EpochSeconds { signature: Signature::user_defined(Volatility::Immutable) }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct EpochSeconds {
    signature: Signature,
}

impl ScalarUDFImpl for EpochSeconds {
    fn name(&self) -> &str {
        "epoch_seconds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Any unit is taken as it is: a cast to a coarser one would round towards 1970.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(..)] => Ok(types.to_vec()),
            [DataType::Date32 | DataType::Date64 | DataType::Null] => {
                Ok(vec![DataType::Timestamp(TimeUnit::Millisecond, None)])
            }
            _ => plan_err!("epoch_seconds takes one timestamp, not {types:?}"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let timestamps = ColumnarValue::values_to_arrays(&args.args)?.swap_remove(0);
        let per_second = match timestamps.data_type() {
            DataType::Timestamp(unit, _) => units_per_second(*unit),
            _ => 1,
        };
        let ticks = cast(&timestamps, &DataType::Int64)?;
        let seconds: Int64Array = ticks.as_primitive::<Int64Type>().unary(|ticks| ticks.div_euclid(per_second));
        Ok(ColumnarValue::Array(Arc::new(seconds)))
    }
}

/// How many ticks of `unit` make a second.
fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::TimestampMillisecondArray;

    use super::*;
    use crate::testing::call;

    #[test]
    fn floors_on_both_sides_of_the_epoch() {
        let millis = vec![Some(1_533_118_630_999), Some(0), Some(-1), Some(-1_000), Some(-1_001), None];
        let seconds =
            call(&epoch_seconds_udf(), Arc::new(TimestampMillisecondArray::from(millis).with_timezone("UTC")));
        let expected = Int64Array::from(vec![Some(1_533_118_630), Some(0), Some(-1), Some(-1), Some(-2), None]);
        assert_eq!(seconds.as_primitive::<Int64Type>(), &expected);
    }
}
