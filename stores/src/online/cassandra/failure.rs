//! Which failures pass, and trying again.
//!
//! Every statement is idempotent and carries its own timestamp, so that one of unknown outcome is simply sent again:
//! whichever arrives later changes nothing. The driver itself sends a statement to another node where a node fails; it
//! does not try again after write timeouts, nor wait. That is done here.

use std::time::Duration;

use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};

use crate::StoreError;

/// How often a statement is sent.
const ATTEMPTS: u32 = 8;
/// The wait after the first attempt; each time twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// What a failure says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// It may pass.
    Passing,
    /// The cluster refuses us until a person has done something.
    Refused,
    /// The same statement would fail again.
    Lasting,
}

/// Calls `send` until it succeeds or its failure is none that passes. `lane` spreads the attempts of those who failed
/// together.
pub(super) async fn patiently<T, F, W>(lane: usize, send: F) -> Result<T, ExecutionError>
where
    F: Fn() -> W,
    W: Future<Output = Result<T, ExecutionError>>,
{
    with_waits(FIRST_WAIT, lane, send).await
}

async fn with_waits<T, F, W>(first: Duration, lane: usize, send: F) -> Result<T, ExecutionError>
where
    F: Fn() -> W,
    W: Future<Output = Result<T, ExecutionError>>,
{
    let mut attempt = 1;
    loop {
        match send().await {
            Err(error) if attempt < ATTEMPTS && outlook(&error) == Outlook::Passing => {
                tracing::debug!(%error, attempt, "cassandra did not do as it was asked");
                tokio::time::sleep(wait(first, attempt, lane)).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

/// The wait after an attempt: between half of the step and all of it.
fn wait(first: Duration, attempt: u32, lane: usize) -> Duration {
    const SPREAD: u32 = 16;
    let step = first * 2_u32.pow(attempt - 1);
    let part = u32::try_from(lane % 16).expect("less than 16");
    step * (SPREAD + part) / (2 * SPREAD)
}

/// A failed statement as the store's own error.
pub(super) fn database_error(attempted: String, error: &ExecutionError) -> StoreError {
    // The whole error as text: its own sources repeat what it says itself.
    let cause = error.to_string();
    match outlook(error) {
        Outlook::Passing | Outlook::Refused => StoreError::unavailable(attempted, cause),
        Outlook::Lasting => StoreError::failed(attempted, cause),
    }
}

fn outlook(error: &ExecutionError) -> Outlook {
    match error {
        ExecutionError::EmptyPlan
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::RequestTimeout(_)
        | ExecutionError::SchemaAgreementError(_)
        | ExecutionError::MetadataError(_)
        | ExecutionError::PrepareError(PrepareError::ConnectionPoolError(_)) => Outlook::Passing,
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt: attempt })
        | ExecutionError::LastAttemptError(attempt) => outlook_of_attempt(attempt),
        _ => Outlook::Lasting,
    }
}

fn outlook_of_attempt(error: &RequestAttemptError) -> Outlook {
    match error {
        RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => Outlook::Passing,
        RequestAttemptError::DbError(error, _) => match error {
            DbError::Unavailable { .. }
            | DbError::Overloaded
            | DbError::IsBootstrapping
            | DbError::ServerError
            | DbError::TruncateError
            | DbError::ReadTimeout { .. }
            | DbError::WriteTimeout { .. }
            | DbError::ReadFailure { .. }
            | DbError::WriteFailure { .. }
            | DbError::RateLimitReached { .. }
            | DbError::Unprepared { .. } => Outlook::Passing,
            DbError::AuthenticationError | DbError::Unauthorized => Outlook::Refused,
            _ => Outlook::Lasting,
        },
        _ => Outlook::Lasting,
    }
}

/// Whether the server says that the statement itself cannot be.
pub(super) fn is_invalid(error: &ExecutionError) -> bool {
    let attempt = match error {
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt: attempt })
        | ExecutionError::LastAttemptError(attempt) => attempt,
        _ => return false,
    };
    matches!(
        attempt,
        RequestAttemptError::DbError(
            DbError::Invalid | DbError::SyntaxError | DbError::ConfigError | DbError::AlreadyExists { .. },
            _
        )
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use neartime_model::{Classify, ErrorKind};
    use scylla::errors::WriteType;

    use super::*;

    fn failing(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, "said so".to_owned()))
    }

    fn write_timeout() -> DbError {
        let consistency = scylla::statement::Consistency::LocalQuorum;
        DbError::WriteTimeout { consistency, received: 1, required: 2, write_type: WriteType::Simple }
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_and_not_for_ever() {
        let sent = AtomicU32::new(0);
        let first = Duration::from_micros(1);
        let done = with_waits(first, 3, || async {
            let attempt = sent.fetch_add(1, Ordering::Relaxed);
            if attempt < 2 { Err(failing(write_timeout())) } else { Ok(attempt) }
        });
        assert_eq!(done.await.unwrap(), 2);

        let sent = AtomicU32::new(0);
        let never = with_waits(first, 0, || async {
            sent.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(failing(DbError::Overloaded))
        });
        assert!(never.await.is_err());
        assert_eq!(sent.load(Ordering::Relaxed), ATTEMPTS);
        let longest: Duration = (1..ATTEMPTS).map(|attempt| wait(FIRST_WAIT, attempt, 15)).sum();
        assert!(longest > Duration::from_secs(4) && longest < Duration::from_secs(7), "{longest:?}");
    }

    #[tokio::test]
    async fn what_lasts_is_sent_once() {
        for error in [DbError::Invalid, DbError::SyntaxError, DbError::Unauthorized] {
            let sent = AtomicU32::new(0);
            let failed = patiently(0, || async {
                sent.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(failing(error.clone()))
            });
            assert!(failed.await.is_err());
            assert_eq!(sent.load(Ordering::Relaxed), 1, "{error}");
        }
    }

    #[test]
    fn a_refusal_is_no_verdict_on_the_rows() {
        let kind = |error| database_error("writing".to_owned(), &failing(error)).kind();
        assert_eq!(kind(DbError::Unauthorized), ErrorKind::Unavailable);
        assert_eq!(kind(write_timeout()), ErrorKind::Unavailable);
        assert_eq!(kind(DbError::Invalid), ErrorKind::Failed);
        let gone = ExecutionError::RequestTimeout(Duration::from_secs(1));
        assert_eq!(database_error("writing".to_owned(), &gone).kind(), ErrorKind::Unavailable);
    }
}
