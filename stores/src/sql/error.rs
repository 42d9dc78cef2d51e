//! DataFusion's errors by what the caller should do.

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::StoreError;

/// Sorts the error of a query: the SQL is at fault, a store is away, or something failed.
pub(super) fn query_error(error: DataFusionError) -> StoreError {
    let error = match error {
        DataFusionError::External(cause) => match cause.downcast::<StoreError>() {
            Ok(error) => return *error,
            Err(cause) => DataFusionError::External(cause),
        },
        error => error,
    };
    let attempted = "running the query";
    // The whole error as text: its own sources repeat what it says itself.
    let text = error.find_root().strip_backtrace();
    if is_away(&error) {
        return StoreError::unavailable(attempted, text);
    }
    match error.find_root() {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Execution(_) => invalid(text),
        DataFusionError::ArrowError(arrow, _) if is_of_values(arrow) => invalid(text),
        _ => StoreError::failed(attempted, text),
    }
}

fn invalid(text: String) -> StoreError {
    StoreError::Invalid { problem: "this sql cannot be run".to_owned(), cause: Some(text.into()) }
}

/// Whether some value did not suit what the SQL does with it.
fn is_of_values(error: &ArrowError) -> bool {
    matches!(
        error,
        ArrowError::DivideByZero
            | ArrowError::ArithmeticOverflow(_)
            | ArrowError::CastError(_)
            | ArrowError::ParseError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::InvalidArgumentError(_)
            | ArrowError::NotYetImplemented(_)
    )
}

fn is_away(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<object_store::Error>() || error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}
