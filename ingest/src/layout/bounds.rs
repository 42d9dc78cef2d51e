//! What a layout tells about folders: which of them may hold files of a range of time.

use std::fmt::Write as _;

use neartime_model::Instant;

use super::Layout;
use super::matching::Search;
use super::parse::{Directive, Token};
use super::time::{PartialTime, TimePart};

/// How a folder may stand to a layout and a wanted range of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FolderMatch {
    /// No file in or below it can match.
    Never,
    /// Files below it may match, but only of times that were not asked for.
    OutOfRange,
    /// Files below it may match and be wanted.
    Wanted {
        /// All that match are wanted.
        whole: bool,
        /// Where the wanted range begins, if in the midst of the folder's time.
        cutoff: Option<Instant>,
    },
}

/// The half-open range of time that a walk asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

impl TimeRange {
    pub(crate) const ALL: Self = Self { from: Instant::from_micros(i64::MIN), until: Instant::from_micros(i64::MAX) };

    pub(crate) fn contains(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }
}

impl Layout {
    /// How many folders deep the files lie.
    pub(crate) fn folders(&self) -> usize {
        self.tokens.iter().filter(|token| **token == Token::Slash).count()
    }

    /// How `folder`, the first `depth` names of a key, stands to the layout; `range_of` tells the wanted range of a
    /// path part (of `None` as long as the path is not fully known: then it must hold the ranges of all).
    pub(crate) fn match_folder(
        &self,
        folder: &str,
        depth: usize,
        range_of: &dyn Fn(Option<&str>) -> TimeRange,
    ) -> FolderMatch {
        let tokens = self.first_names(depth);
        let rest_of_path = self.tokens[..self.path_tokens].get(tokens.len()..).unwrap_or_default();
        let path_known = !rest_of_path.iter().any(|token| matches!(token, Token::Capture(_)));
        let mut all = FolderMatch::Never;
        Search::new(folder, self.captures.len()).run(tokens, &mut |read| {
            let Some((from, until)) = read.time.range() else { return false };
            let path = path_known.then(|| self.path_part(&read.captures));
            let wanted = range_of(path.as_deref());
            all = all.or(if until <= wanted.from || wanted.until <= from {
                FolderMatch::OutOfRange
            } else {
                let whole = path_known && wanted.from <= from && until <= wanted.until;
                FolderMatch::Wanted { whole, cutoff: (from < wanted.from).then_some(wanted.from) }
            });
            // Some other way to read the names may ask for more.
            false
        });
        all
    }

    /// A text that sorts before every file name that tells a time at or after `cutoff`, within a folder whose
    /// time holds `cutoff`; `None` where the names do not sort by time.
    ///
    /// What makes it exact is that such a folder has the cutoff's own values in the parts that it tells.
    pub(crate) fn names_from(&self, cutoff: Instant) -> Option<String> {
        let time = PartialTime::of(cutoff)?;
        let start = self.tokens.iter().rposition(|token| *token == Token::Slash).map_or(0, |slash| slash + 1);
        let (folders, name) = self.tokens.split_at(start);
        let told = |part: TimePart| folders.iter().any(|token| matches!(token, Token::Time(time) if time.part == part));
        let mut known = TimePart::ALL.into_iter().take_while(|part| told(*part)).count();
        let mut floor = String::new();
        let mut used = 0;
        for token in name {
            match token {
                Token::Text(text) => floor.push_str(text),
                Token::Time(Directive { part, padded: true }) if *part as usize <= known => {
                    known = known.max(*part as usize + 1);
                    write!(floor, "{:0digits$}", time.get(*part), digits = part.digits())
                        .expect("writing to a String cannot fail");
                }
                _ => break,
            }
            used += 1;
        }
        // A name that is the floor itself must still sort after it: where it can be, the floor is cut shorter.
        if name[used..].iter().all(|token| *token == Token::Star) {
            floor.pop();
        }
        (!floor.is_empty()).then_some(floor)
    }

    fn first_names(&self, names: usize) -> &[Token] {
        let Some(slashes) = names.checked_sub(1) else { return &[] };
        let ends = self.tokens.iter().enumerate().filter(|(_, token)| **token == Token::Slash);
        let end = ends.map(|(index, _)| index).nth(slashes).unwrap_or(self.tokens.len());
        &self.tokens[..end]
    }
}

impl FolderMatch {
    /// What is to be done where a name can be read in two ways.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Wanted { whole, cutoff }, Self::Wanted { whole: other_whole, cutoff: other_cutoff }) => {
                Self::Wanted { whole: whole && other_whole, cutoff: cutoff.filter(|_| cutoff == other_cutoff) }
            }
            (Self::Wanted { cutoff, .. }, Self::OutOfRange) | (Self::OutOfRange, Self::Wanted { cutoff, .. }) => {
                Self::Wanted { whole: false, cutoff }
            }
            (wanted @ Self::Wanted { .. }, Self::Never) | (Self::Never, wanted @ Self::Wanted { .. }) => wanted,
            (Self::OutOfRange, _) | (_, Self::OutOfRange) => Self::OutOfRange,
            (Self::Never, Self::Never) => Self::Never,
        }
    }
}
