//! What a read tells besides its rows: what was refused, why, and how much was read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use neartime_model::FileKey;

/// How many examples of each reason are kept for a task.
pub const EXAMPLES_A_REASON: usize = 100;
/// How many bytes of a refused line are shown.
pub const EXAMPLE_BYTES: usize = 200;

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal,)*) => {
        /// Why a line, or a value of it, was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$reason),*];

            /// Its fixed name, in snake case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// The line is no JSON object.
    NotJsonObject = "not_json_object",
    /// The line begins an object and does not end with its brace.
    LineCutOff = "line_cut_off",
    /// The line breaks JSON's grammar before its last wanted value.
    BadJson = "bad_json",
    /// The line is over 10 MB.
    LineTooLong = "line_too_long",
    /// A quoted field is not closed, or something other than a delimiter follows it.
    BadQuotes = "bad_quotes",
    /// The line has more or fewer fields than the header.
    WrongFieldCount = "wrong_field_count",
    /// The line does not match the source's pattern.
    NoMatch = "no_match",
    /// A required column is absent, null or empty.
    MissingRequired = "missing_required",
    /// The event time is absent, null or empty.
    MissingEventTime = "missing_event_time",
    /// The event time does not fit its column.
    BadEventTime = "bad_event_time",
    /// The event time is later than the chunk's end by more than `max_ahead`.
    TooFarAhead = "too_far_ahead",
    /// The event time is earlier than the chunk's start by more than `max_behind`.
    TooFarBehind = "too_far_behind",
    /// The event time lies outside the chunk, and the source says `outside = "quarantine"`.
    OutsideChunk = "outside_chunk",
    /// A value does not fit its column: it is null there, and the row stays.
    Misfit = "misfit",
}

impl Reason {
    /// Whether it drops the line for all features. Else only a value is null.
    pub const fn drops_line(self) -> bool {
        !matches!(self, Self::Misfit)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A refused line, or a line with a refused value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BadLine {
    /// The file.
    pub key: FileKey,
    /// The line's number in the inflated file, from 1.
    pub line: u64,
    /// The column, where one is to blame.
    pub column: Option<String>,
    /// Why.
    pub reason: Reason,
    /// The first 200 bytes of the line; what is no UTF-8 is replaced.
    pub text: String,
}

/// What a read found besides its rows.
///
/// It is the same whatever the number of threads: `lines = rows + filtered + duplicates + dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Lines that held something: blank ones and headers are not counted.
    pub lines: u64,
    /// Rows that were sent.
    pub rows: u64,
    /// Good rows that no feature wanted.
    pub filtered: u64,
    /// Good rows whose `unique` value an earlier row had.
    pub duplicates: u64,
    /// Good rows whose event time lies outside the chunk.
    pub outside_rows: u64,
    /// How many lines or values were refused, by reason.
    pub counts: BTreeMap<Reason, u64>,
    /// The first hundred examples of each reason, ordered by reason, then key, line and column.
    pub examples: Vec<BadLine>,
    /// Bytes of the files as they are stored.
    pub bytes_read: u64,
    /// Bytes of the files inflated.
    pub bytes_inflated: u64,
}

impl ReadReport {
    /// How many lines or values were refused for `reason`.
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts.get(&reason).copied().unwrap_or(0)
    }

    /// How many lines were dropped for all features.
    pub fn dropped(&self) -> u64 {
        self.counts.iter().filter(|(reason, _)| reason.drops_line()).map(|(_, count)| count).sum()
    }
}

/// What one file, or one thread, has found so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) lines: u64,
    pub(crate) rows: u64,
    pub(crate) filtered: u64,
    pub(crate) outside_rows: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_inflated: u64,
    counts: BTreeMap<Reason, u64>,
    examples: BTreeMap<Reason, BTreeSet<BadLine>>,
}

impl Findings {
    /// Counts a refusal; `example` is asked for only if there is room for it.
    pub(crate) fn refuse(&mut self, reason: Reason, example: impl FnOnce() -> BadLine) {
        *self.counts.entry(reason).or_default() += 1;
        let examples = self.examples.entry(reason).or_default();
        // Lines of a file come in order, so that none that comes later can be among the first.
        if examples.len() < EXAMPLES_A_REASON {
            examples.insert(example());
        }
    }

    /// Adds what another file has found.
    pub(crate) fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.rows += other.rows;
        self.filtered += other.filtered;
        self.outside_rows += other.outside_rows;
        self.bytes_read += other.bytes_read;
        self.bytes_inflated += other.bytes_inflated;
        for (reason, count) in other.counts {
            *self.counts.entry(reason).or_default() += count;
        }
        for (reason, examples) in other.examples {
            let mine = self.examples.entry(reason).or_default();
            mine.extend(examples);
            while mine.len() > EXAMPLES_A_REASON {
                mine.pop_last();
            }
        }
    }

    /// The report, once every file has been read.
    pub(crate) fn into_report(self, duplicates: u64) -> ReadReport {
        ReadReport {
            lines: self.lines,
            rows: self.rows - duplicates,
            filtered: self.filtered,
            duplicates,
            outside_rows: self.outside_rows,
            counts: self.counts,
            examples: self.examples.into_values().flatten().collect(),
            bytes_read: self.bytes_read,
            bytes_inflated: self.bytes_inflated,
        }
    }
}

/// The first [`EXAMPLE_BYTES`] of a line as text, or a few less where they would cut a character.
pub(crate) fn excerpt(line: &[u8]) -> String {
    const LONGEST_CHARACTER: usize = 4;
    let is_inside = |at: usize| line.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    let end = line.len().min(EXAMPLE_BYTES);
    let whole = (end.saturating_sub(LONGEST_CHARACTER)..=end).rev().find(|at| !is_inside(*at)).unwrap_or(end);
    String::from_utf8_lossy(&line[..whole]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_cuts_no_character() {
        assert_eq!(excerpt(b"short \xff"), "short \u{fffd}");
        let text = format!("{}é", "x".repeat(EXAMPLE_BYTES - 1));
        assert_eq!(excerpt(text.as_bytes()), "x".repeat(EXAMPLE_BYTES - 1));
        assert_eq!(excerpt(&[0x80; 300]).chars().count(), EXAMPLE_BYTES);
    }

    #[test]
    fn merged_findings_keep_the_first_examples() {
        let found = |key: &str, lines: std::ops::Range<u64>| {
            let mut findings = Findings::default();
            for line in lines {
                findings.refuse(Reason::BadJson, || BadLine {
                    key: FileKey::new(key),
                    line,
                    column: None,
                    reason: Reason::BadJson,
                    text: String::new(),
                });
            }
            findings
        };
        let mut all = found("b", 1..151);
        all.merge(found("a", 1..31));
        let report = all.into_report(0);
        assert_eq!((report.count(Reason::BadJson), report.dropped()), (180, 180));
        let places: Vec<_> = report.examples.iter().map(|bad| (bad.key.as_str(), bad.line)).collect();
        let expected: Vec<_> = (1..31).map(|line| ("a", line)).chain((1..71).map(|line| ("b", line))).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn reasons_have_one_name_each_in_snake_case() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
}
