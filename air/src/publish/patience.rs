//! Tries again while another connection holds a lock.

use std::time::Duration;

/// How long a statement waits for a lock; then it is tried again, [`ATTEMPTS`] times in all.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// How often a call was tried, and how long to wait before it is tried again.
pub(super) struct Patience {
    attempts: u32,
    pause: Duration,
    /// Whether a database's code means a lock.
    is_locked: fn(&str) -> bool,
}

impl Patience {
    pub(super) fn new(is_locked: fn(&str) -> bool) -> Self {
        Self { attempts: 1, pause: FIRST_PAUSE, is_locked }
    }

    /// Waits, and says whether to try again after this error.
    pub(super) async fn lasts(&mut self, error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(|error| error.code());
        if !code.is_some_and(|code| (self.is_locked)(&code)) || self.attempts == ATTEMPTS {
            return false;
        }
        self.attempts += 1;
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LOCK_TIMEOUT);
        true
    }
}

/// Repeats a call until it ends otherwise than for a lock. A macro, because the future of an async closure is not
/// known to be `Send`.
macro_rules! patiently {
    ($is_locked:expr, $call:expr) => {{
        let mut patience = $crate::publish::patience::Patience::new($is_locked);
        loop {
            match $call.await {
                Err(error) if patience.lasts(&error).await => {}
                result => break result,
            }
        }
    }};
}

pub(super) use patiently;
