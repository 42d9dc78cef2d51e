//! DataFusion's errors by what the caller should do.

use std::error::Error;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::StoreError;
use crate::offline::Unreadable;

/// Advice of DataFusion's that nobody can follow here.
const NO_ADVICE: &str = " or disable the datafusion.sql_parser.enable_ident_normalization configuration";

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
    let text = error.find_root().strip_backtrace().replace(NO_ADVICE, "");
    if let Some(unreadable) = causes(&error).find(|cause| cause.is::<Unreadable>()) {
        return StoreError::failed(attempted, neartime_model::chain(unreadable));
    }
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
    causes(error).any(|cause| cause.is::<object_store::Error>() || cause.is::<std::io::Error>())
}

/// The error and what it came from, one after another.
fn causes(error: &DataFusionError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source())
}
