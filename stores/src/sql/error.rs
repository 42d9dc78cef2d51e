//! DataFusion's errors by what the caller should do.

use std::error::Error;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use neartime_model::{Classified, Classify, ErrorKind, FileChanged, chain};

use crate::StoreError;
use crate::offline::Unreadable;

/// Advice of DataFusion's that nobody can follow here.
const NO_ADVICE: &str = " or disable the datafusion.sql_parser.enable_ident_normalization configuration";

/// Sorts the error of a query: the SQL is at fault, a store is away, or something failed.
pub(super) fn query_error(error: DataFusionError) -> StoreError {
    let error = match StoreError::carried_by(error) {
        Ok(error) => return error,
        Err(error) => error,
    };
    let attempted = "running the query";
    if let Some(changed) = causes(&error).find_map(|cause| cause.downcast_ref::<FileChanged>()) {
        return StoreError::unavailable(attempted, changed.clone());
    }
    if let Some(unreadable) = causes(&error).find(|cause| cause.is::<Unreadable>()) {
        return StoreError::failed(attempted, chain(unreadable));
    }
    if let Some((kind, text)) = causes(&error).find_map(|cause| Some((kind(cause)?, chain(cause)))) {
        return match kind {
            ErrorKind::Unavailable => StoreError::unavailable(attempted, text),
            ErrorKind::Invalid => invalid(text),
            ErrorKind::Failed => StoreError::failed(attempted, text),
        };
    }
    // The whole error as text: its own sources repeat what it says itself.
    let text = error.find_root().strip_backtrace().replace(NO_ADVICE, "");
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

/// The kind that one of our own errors tells. A plan with several readers of one stream shares its error with all of
/// them, so that it cannot be taken out.
fn kind(cause: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let of_others = cause.downcast_ref::<Classified>().map(Classify::kind);
    of_others.or_else(|| cause.downcast_ref::<StoreError>().map(Classify::kind))
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
