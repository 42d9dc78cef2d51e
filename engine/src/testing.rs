//! What tests of this crate share.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::Field;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};

/// Calls a function of one argument on a column.
pub(crate) fn call(function: &ScalarUDF, column: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new("c", column.data_type().clone(), true));
    let arg_fields = vec![field];
    let return_args = ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &[None] };
    let return_field = function.return_field_from_args(return_args).unwrap();
    let args = ScalarFunctionArgs {
        number_rows: column.len(),
        args: vec![ColumnarValue::Array(column)],
        arg_fields,
        return_field,
        config_options: Arc::new(ConfigOptions::default()),
    };
    let rows = args.number_rows;
    function.invoke_with_args(args).unwrap().into_array(rows).unwrap()
}
