//! How long to wait before the next try.

use std::time::Duration;

use neartime_model::Span;

const FIRST_SECS: u64 = 2;
const LONGEST_SECS: u64 = 600;

/// Doubles with each try from two seconds to ten minutes, less up to half of it by chance, so that workers that
/// failed together do not come back together.
#[derive(Debug, Clone, Copy)]
pub enum Backoff {
    /// The daemon waits.
    Exponential,
    /// `run --once` tries again at once.
    None,
}

impl Backoff {
    /// The wait after `attempts` failures (at least one).
    pub fn after(self, attempts: u32, random: &mut fastrand::Rng) -> Span {
        match self {
            Self::None => Span::ZERO,
            Self::Exponential => {
                let doubled = FIRST_SECS.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LONGEST_SECS);
                let millis = doubled * 1_000;
                let wait = Duration::from_millis(millis - random.u64(0..=millis / 2));
                Span::from_micros(i64::try_from(wait.as_micros()).expect("ten minutes fit"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_minutes_and_differ() {
        let mut random = fastrand::Rng::with_seed(7);
        for attempts in 1..40 {
            let full = (2_000_000_i64 << (attempts - 1).min(20)).min(600_000_000);
            let wait = Backoff::Exponential.after(attempts, &mut random).as_micros();
            assert!(wait >= full / 2 && wait <= full, "{attempts}: {wait} of {full}");
        }
        assert_eq!(Backoff::None.after(3, &mut random), Span::ZERO);
    }
}
