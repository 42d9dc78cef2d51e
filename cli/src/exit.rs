//! How the process ends: an error becomes a text and an exit code.

use std::process::ExitCode;

use anyhow::Error;
use neartime_model::{Classify, ErrorKind, causes};

use crate::output::{OutputClosed, visible};

/// `run --once` found something parked, or quarantined a whole file.
pub(crate) const UNFINISHED: u8 = 1;
/// Wrong usage, configuration or SQL.
pub(crate) const INVALID: u8 = 2;
/// A service is unreachable or refuses us.
pub(crate) const UNAVAILABLE: u8 = 3;
/// Anything else.
pub(crate) const FAILED: u8 = 4;

/// A mistake of the caller's that no other crate knows of.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

impl Classify for Invalid {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Shows the error and chooses the code.
pub(crate) fn report(error: &Error) -> ExitCode {
    if error.is::<OutputClosed>() {
        return ExitCode::SUCCESS;
    }
    show(error);
    ExitCode::from(code(error))
}

/// Shows the error with its causes.
pub(crate) fn show(error: &Error) {
    let text = causes(error.as_ref()).join("\n  because: ");
    // Lines are ours; what else would move the cursor is part of some name.
    let text: String = text.chars().map(|c| if matches!(c, '\n' | '\t') { c } else { visible(c) }).collect();
    eprintln!("error: {text}");
}

/// The first cause that knows its kind decides.
fn code(error: &Error) -> u8 {
    match error.chain().find_map(kind) {
        Some(ErrorKind::Invalid) => INVALID,
        Some(ErrorKind::Unavailable) => UNAVAILABLE,
        Some(ErrorKind::Failed) | None => FAILED,
    }
}

/// The errors of this house that tell their kind, one visible list.
fn kind(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    fn of<E: Classify + 'static>(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
        cause.downcast_ref::<E>().map(Classify::kind)
    }
    None.or_else(|| of_aws(cause))
        .or_else(|| of::<Invalid>(cause))
        .or_else(|| of::<crate::commands::Unreachable>(cause))
        .or_else(|| of::<crate::config::ConfigError>(cause))
        .or_else(|| of::<neartime_air::AirError>(cause))
        .or_else(|| of::<neartime_console::ConsoleError>(cause))
        .or_else(|| of::<neartime_engine::Refused>(cause))
        .or_else(|| of::<neartime_ingest::DiscoverError>(cause))
        .or_else(|| of::<neartime_ingest::ImportError>(cause))
        .or_else(|| of::<neartime_ingest::ReadError>(cause))
        .or_else(|| of::<neartime_ingest::channel::ChannelError>(cause))
        .or_else(|| of::<neartime_scheduler::OnceError>(cause))
        .or_else(|| of::<neartime_scheduler::RebuildError>(cause))
        .or_else(|| of::<neartime_stores::StoreError>(cause))
        .or_else(|| of::<neartime_tasks_db::TasksError>(cause))
}

#[cfg(feature = "aws")]
fn of_aws(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let connect = || cause.downcast_ref::<neartime_aws::ConnectError>().map(Classify::kind);
    connect().or_else(|| cause.downcast_ref::<neartime_aws::SetupError>().map(Classify::kind))
}

#[cfg(not(feature = "aws"))]
fn of_aws(_: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    None
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_kind_is_found_below_any_context() {
        let error = Err::<(), _>(Invalid("no such feature".to_owned())).context("looking it up").unwrap_err();
        assert_eq!(code(&error), INVALID);
        assert_eq!(code(&anyhow::anyhow!("whatever")), FAILED);
    }
}
