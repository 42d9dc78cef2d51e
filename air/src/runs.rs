//! Runs of time: when a user was in a segment, or came to a site.
//!
//! A chunk row is an interval; intervals that follow each other without a gap longer than [`Alive`] form one run.
//! A run is therefore a connected component of "no further apart than that", which is why intervals, and runs
//! themselves, may be merged in any order and any grouping with the same result.

use std::fmt;
use std::str::FromStr;

use neartime_model::{Instant, InvalidSpan, Span};

/// How long a membership lives after it was last seen, and the longest gap inside one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alive {
    /// So long: `30d`.
    For(Span),
    /// For ever: attributes that never expire. All intervals form one run.
    Always,
}

/// The closed interval `[first_ms, last_ms]`, in milliseconds since the epoch: a chunk row, or many of them joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Run {
    /// First time seen.
    pub(crate) first_ms: i64,
    /// Last time seen; not before the first.
    pub(crate) last_ms: i64,
}

/// [`Alive`] in milliseconds, ready to be compared with; for ever is the longest there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    millis: i64,
}

impl From<Alive> for Life {
    fn from(alive: Alive) -> Self {
        match alive {
            Alive::For(span) => Self { millis: span.as_micros().div_euclid(1_000) },
            Alive::Always => Self { millis: i64::MAX },
        }
    }
}

impl Life {
    /// Whether an interval that begins at `next_first_ms` continues a run that ended at `last_ms`.
    pub(crate) fn joins(self, last_ms: i64, next_first_ms: i64) -> bool {
        next_first_ms.saturating_sub(last_ms) <= self.millis
    }

    /// The latest end of a run that is no longer alive as of `as_of`, in milliseconds: a run is alive that ended later
    /// than `as_of − alive`. `None` if nothing ever dies.
    pub(crate) fn last_dead_ms(self, as_of: Instant) -> Option<i64> {
        (self.millis != i64::MAX).then(|| as_of.as_millis().saturating_sub(self.millis))
    }
}

/// `30d`, or `always`.
impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(span) => span.fmt(f),
            Self::Always => f.write_str("always"),
        }
    }
}

impl FromStr for Alive {
    type Err = InvalidSpan;
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        if text == "always" { Ok(Self::Always) } else { text.parse().map(Self::For) }
    }
}

/// The first run of intervals that are in order of their beginnings: how many of them it joins, and when it was.
pub(crate) fn first_run<T>(intervals: &[T], when: impl Fn(&T) -> Run, life: Life) -> (usize, Run) {
    let mut run = when(&intervals[0]);
    for (at, next) in intervals.iter().map(when).enumerate().skip(1) {
        if !life.joins(run.last_ms, next.first_ms) {
            return (at, run);
        }
        run.last_ms = run.last_ms.max(next.last_ms);
    }
    (intervals.len(), run)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: Life = Life { millis: 10 };

    fn run(first_ms: i64, last_ms: i64) -> Run {
        Run { first_ms, last_ms }
    }

    /// All runs of intervals in any order.
    fn runs(mut intervals: Vec<Run>) -> Vec<Run> {
        intervals.sort_unstable();
        let (mut found, mut rest) = (Vec::new(), intervals.as_slice());
        while !rest.is_empty() {
            let (length, run) = first_run(rest, |run| *run, TEN);
            found.push(run);
            rest = &rest[length..];
        }
        found
    }

    #[test]
    fn a_gap_of_alive_joins_and_one_more_breaks() {
        assert_eq!(runs(vec![run(20, 25), run(0, 10), run(36, 40)]), [run(0, 25), run(36, 40)]);
    }

    #[test]
    fn a_run_ends_where_its_longest_interval_ends() {
        assert_eq!(runs(vec![run(0, 100), run(5, 6), run(110, 111)]), [run(0, 111)]);
    }

    #[test]
    fn alive_means_later_than_as_of_minus_alive() {
        assert_eq!(TEN.last_dead_ms(Instant::from_millis(30)), Some(20));
        let always = Life::from(Alive::Always);
        assert_eq!(always.last_dead_ms(Instant::from_millis(30)), None);
        assert!(always.joins(i64::MIN, i64::MAX));
        assert_eq!(Life::from(Alive::For(Span::from_micros(10_000))), TEN);
    }

    #[test]
    fn alive_reads_what_it_prints() {
        for text in ["30d", "always", "90s"] {
            assert_eq!(text.parse::<Alive>().unwrap().to_string(), text);
        }
        assert!("for ever".parse::<Alive>().is_err());
    }

    fn intervals() -> impl Strategy<Value = Vec<Run>> {
        prop::collection::vec((0_i64..300, 0_i64..15).prop_map(|(first, span)| run(first, first + span)), 0..30)
    }

    proptest! {
        #[test]
        fn merges_in_any_order_and_grouping_agree(all in intervals(), seed: u64, cut in 0_usize..30) {
            let whole = runs(all.clone());
            let mut shuffled = all;
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            let tail = shuffled.split_off(cut.min(shuffled.len()));
            prop_assert_eq!(runs([runs(shuffled), runs(tail)].concat()), whole);
        }
    }
}
