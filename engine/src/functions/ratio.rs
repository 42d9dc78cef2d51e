//! `ratio(a, b)`.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::Expr;

/// `numerator / denominator` as DOUBLE, whatever numbers they are; null where the denominator is zero or one is null.
pub fn ratio(numerator: Expr, denominator: Expr) -> Expr {
    ratio_udf().call(vec![numerator, denominator])
}

/// The function behind [`ratio`].
pub fn ratio_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::exact(vec![DataType::Float64, DataType::Float64], Volatility::Immutable);
        Arc::new(ScalarUDF::from(RatioFunction { signature }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RatioFunction {
    signature: Signature,
}

impl ScalarUDFImpl for RatioFunction {
    fn name(&self) -> &str {
        "ratio"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let numerators = arrays[0].as_primitive::<Float64Type>();
        let denominators = arrays[1].as_primitive::<Float64Type>();
        let divide = |(a, b): (Option<f64>, Option<f64>)| b.filter(|b| *b != 0.0).and_then(|b| a.map(|a| a / b));
        let ratios: Float64Array = numerators.iter().zip(denominators).map(divide).collect();
        Ok(ColumnarValue::Array(Arc::new(ratios)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::register_functions;

    #[tokio::test]
    async fn divides_integers_as_doubles_and_gives_null_on_zero() {
        let context = SessionContext::new();
        register_functions(&context);
        let sql = "select ratio(a, b) from (values (1, 2), (1, 0), (null, 2), (0, 3)) as t(a, b)";
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let expected = Float64Array::from(vec![Some(0.5), None, None, Some(0.0)]);
        assert_eq!(batches[0].column(0).as_primitive::<Float64Type>(), &expected);
    }
}
