//! The vocabulary of features and engines, as DataFusion functions.

mod clean_str;
mod epoch_seconds;
mod exact_sum;
mod ratio;

use datafusion::prelude::SessionContext;

pub use clean_str::{clean_str, clean_str_udf};
pub use epoch_seconds::{epoch_seconds, epoch_seconds_udf};
pub(crate) use exact_sum::overflow;
pub use exact_sum::{exact_sum, exact_sum_udaf};
pub use ratio::{ratio, ratio_udf};

/// Makes `clean_str`, `epoch_seconds`, `ratio` and `exact_sum` known to the SQL of `context`.
pub fn register_functions(context: &SessionContext) {
    context.register_udf((*clean_str_udf()).clone());
    context.register_udf((*epoch_seconds_udf()).clone());
    context.register_udf((*ratio_udf()).clone());
    context.register_udaf((*exact_sum_udaf()).clone());
}
