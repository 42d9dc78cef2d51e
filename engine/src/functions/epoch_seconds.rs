//! `epoch_seconds(timestamp)`.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::Expr;

/// Whole seconds since the epoch of a timestamp of any unit, floored, also before 1970 (Int64; null of null).
pub fn epoch_seconds(timestamp: Expr) -> Expr {
    epoch_seconds_udf().call(vec![timestamp])
}

/// The function behind [`epoch_seconds`].
pub fn epoch_seconds_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(EpochSeconds::new())));
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct EpochSeconds {
    signature: Signature,
}

impl EpochSeconds {
    fn new() -> Self {
        let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
        let of_unit = |unit| {
            let zoned = DataType::Timestamp(unit, Some(datafusion::logical_expr::TIMEZONE_WILDCARD.into()));
            [TypeSignature::Exact(vec![zoned]), TypeSignature::Exact(vec![DataType::Timestamp(unit, None)])]
        };
        let signature = Signature::one_of(units.into_iter().flat_map(of_unit).collect(), Volatility::Immutable);
        Self { signature }
    }
}

impl ScalarUDFImpl for EpochSeconds {
    fn name(&self) -> &str {
        "epoch_seconds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
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
        // A cast to seconds would round towards 1970.
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
