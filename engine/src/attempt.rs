//! Expressions that cannot fail on a row: what DataFusion would answer with an error is null here, and counted.
//!
//! An [`Attempt`] stands in a plan for a conversion, an operator or a function that may fail. It evaluates the whole
//! batch; only where that fails does it look for the rows to blame, part by part. [`rewrite`] puts it there.

mod rewrite;

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Datum, RecordBatch, RecordBatchOptions, new_null_array,
};
use datafusion::arrow::compute::kernels::cmp::eq;
use datafusion::arrow::compute::{CastOptions, and, concat, is_not_null, nullif};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema};
use datafusion::common::{exec_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::scalar::ScalarValue;

use crate::Counts;
use crate::counts::Null;

pub(crate) use rewrite::{recount, rewrite};

/// So few rows are tried one by one: halving them would cost more where most of them fail.
const FEW: usize = 16;

/// Something that may fail, and that gives null where it does.
#[derive(Debug)]
pub(crate) struct Attempt {
    operation: Operation,
    counts: Arc<Counts>,
    signature: Signature,
}

/// What is attempted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Cast(DataType),
    Binary(Operator),
    Function(Arc<ScalarUDF>),
}

impl Attempt {
    fn new(operation: Operation, counts: Arc<Counts>) -> Self {
        // Whatever has been coerced for the operation itself; `pi()` has no arguments.
        let any = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
        Self { operation, counts, signature: Signature::one_of(any, Volatility::Immutable) }
    }

    /// The same, counted elsewhere.
    fn counted_in(&self, counts: &Arc<Counts>) -> Self {
        Self::new(self.operation.clone(), Arc::clone(counts))
    }

    fn blame(&self) -> Null {
        match self.operation {
            Operation::Cast(_) => Null::Conversion,
            Operation::Binary(operator) if operator.is_numerical_operators() => Null::Overflow,
            Operation::Binary(_) | Operation::Function(_) => Null::Function,
        }
    }

    /// Evaluates all rows at once; a panic is an error like any other.
    fn once(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let evaluated = catch_unwind(AssertUnwindSafe(|| match &self.operation {
            Operation::Cast(to) => cast_or_null(&args.args[0], to),
            Operation::Binary(operator) => binary(*operator, &args.args, rows),
            Operation::Function(function) => function.invoke_with_args(args),
        }));
        match evaluated {
            Ok(result) => result,
            Err(_) => exec_err!("`{}` panicked", self.name()),
        }
    }

    /// Evaluates the rows by halves, the last few one by one, until those that fail stand alone: they become null.
    fn by_parts(&self, args: &ScalarFunctionArgs, start: usize, rows: usize, parts: &mut Vec<ArrayRef>) {
        let part = slice(args, start, rows);
        if let Ok(values) = self.once(part).and_then(|values| values.into_array(rows)) {
            parts.push(values);
            return;
        }
        if rows <= 1 {
            self.counts.add_null(self.blame(), rows);
            parts.push(new_null_array(args.return_type(), rows));
            return;
        }
        let size = if rows <= FEW { 1 } else { rows.div_ceil(2) };
        for offset in (0..rows).step_by(size) {
            self.by_parts(args, start + offset, size.min(rows - offset), parts);
        }
    }

    /// Takes zeros out of a divisor, and counts those that would have divided something.
    fn without_zero_divisors(&self, mut args: ScalarFunctionArgs) -> Result<ScalarFunctionArgs> {
        if !matches!(self.operation, Operation::Binary(Operator::Divide | Operator::Modulo)) {
            return Ok(args);
        }
        let (dividend, divisor) = (&args.args[0], &args.args[1]);
        let divisors = match divisor {
            ColumnarValue::Array(divisors) => Arc::clone(divisors),
            ColumnarValue::Scalar(divisor) => divisor.to_array()?,
        };
        let Some(zeros) = zeros_of(&divisors)?.filter(|zeros| zeros.true_count() > 0) else {
            return Ok(args);
        };
        let dividends = dividend.to_array(args.number_rows)?;
        let (without, failed) = match divisor {
            ColumnarValue::Array(_) => {
                let failed = and(&zeros, &is_not_null(&dividends)?)?;
                (ColumnarValue::Array(nullif(&divisors, &zeros)?), failed.true_count())
            }
            ColumnarValue::Scalar(_) => {
                let null = ScalarValue::try_from(divisors.data_type())?;
                (ColumnarValue::Scalar(null), dividends.len() - dividends.logical_null_count())
            }
        };
        self.counts.add_null(Null::DivisionByZero, failed);
        args.args[1] = without;
        Ok(args)
    }
}

impl PartialEq for Attempt {
    fn eq(&self, other: &Self) -> bool {
        self.operation == other.operation && Arc::ptr_eq(&self.counts, &other.counts)
    }
}

impl Eq for Attempt {}

impl Hash for Attempt {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operation.hash(state);
    }
}

impl ScalarUDFImpl for Attempt {
    fn name(&self) -> &str {
        match &self.operation {
            Operation::Cast(_) => "cast_or_null",
            Operation::Binary(_) => "calculate_or_null",
            Operation::Function(function) => function.name(),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        internal_err!("return_field_from_args tells it")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let data_type = match &self.operation {
            Operation::Cast(to) => to.clone(),
            Operation::Binary(operator) => {
                let [left, right] = args.arg_fields else {
                    return internal_err!("an operator has two sides");
                };
                BinaryTypeCoercer::new(left.data_type(), operator, right.data_type()).get_result_type()?
            }
            Operation::Function(function) => {
                let field = function.return_field_from_args(args)?;
                return Ok(Arc::new(field.as_ref().clone().with_nullable(true)));
            }
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let args = self.without_zero_divisors(args)?;
        let nulls_before = args.args.first().map_or(0, nulls);
        match self.once(args.clone()) {
            Ok(values) => {
                if matches!(self.operation, Operation::Cast(_)) {
                    self.counts.add_null(Null::Conversion, nulls(&values).saturating_sub(nulls_before));
                }
                Ok(values)
            }
            Err(_) if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) => {
                self.counts.add_null(self.blame(), args.number_rows);
                Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_type())?))
            }
            Err(_) => {
                let mut parts = Vec::new();
                self.by_parts(&args, 0, args.number_rows, &mut parts);
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                Ok(ColumnarValue::Array(concat(&parts)?))
            }
        }
    }
}

/// Which numbers are zero, of either sign; `None` for what is no number.
fn zeros_of(numbers: &ArrayRef) -> Result<Option<BooleanArray>> {
    if let Some(floats) = numbers.as_primitive_opt::<Float64Type>() {
        return Ok(Some(BooleanArray::from_unary(floats, |float| float == 0.0)));
    }
    // Arrow's equality tells the negative zero of a Float32 from zero; DataFusion has no literals of that type.
    match ScalarValue::new_zero(numbers.data_type()) {
        Ok(zero) => Ok(Some(eq(numbers, &zero.to_scalar()? as &dyn Datum)?)),
        Err(_) => Ok(None),
    }
}

fn nulls(values: &ColumnarValue) -> usize {
    match values {
        ColumnarValue::Array(values) => values.logical_null_count(),
        ColumnarValue::Scalar(value) => usize::from(value.is_null()),
    }
}

fn cast_or_null(value: &ColumnarValue, to: &DataType) -> Result<ColumnarValue> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    value.cast_to(to, Some(&options))
}

/// Evaluates an operator as DataFusion does, but for integers that overflow: those are errors here.
fn binary(operator: Operator, args: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    let mut operand = |arg: &ColumnarValue| -> Arc<dyn PhysicalExpr> {
        match arg {
            ColumnarValue::Scalar(scalar) => Arc::new(Literal::new(scalar.clone())),
            ColumnarValue::Array(array) => {
                fields.push(Field::new("operand", array.data_type().clone(), true));
                columns.push(Arc::clone(array));
                Arc::new(Column::new("operand", columns.len() - 1))
            }
        }
    };
    let [left, right] = args else {
        return internal_err!("an operator has two sides");
    };
    let expression = BinaryExpr::new(operand(left), operator, operand(right)).with_fail_on_overflow(true);
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let operands = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    expression.evaluate(&operands)
}

fn slice(args: &ScalarFunctionArgs, start: usize, rows: usize) -> ScalarFunctionArgs {
    let slice = |arg: &ColumnarValue| match arg {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, rows)),
        scalar @ ColumnarValue::Scalar(_) => scalar.clone(),
    };
    ScalarFunctionArgs { args: args.args.iter().map(slice).collect(), number_rows: rows, ..args.clone() }
}

#[cfg(test)]
mod tests;
