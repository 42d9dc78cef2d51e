//! What a layout tells about folders: which of them may hold files of a range of time.

use std::fmt::Write as _;

use neartime_model::Instant;

use super::Layout;
use super::matching::Search;
use super::parse::{Directive, Token};
use super::time::{PartialTime, TimePart};

/// How a folder may stand to a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FolderMatch {
    /// No file in or below it can match.
    Never,
    /// Files below it may match, but only of times that were not asked for.
    OutOfRange,
    /// Files below it may match; all their times lie at or after the cutoff.
    Within,
    /// Files below it may match; their times may lie on either side of the cutoff.
    Straddles,
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
    /// path part (of `None` as long as the path is not fully known).
    pub(crate) fn match_folder(
        &self,
        folder: &str,
        depth: usize,
        range_of: &dyn Fn(Option<&str>) -> TimeRange,
    ) -> FolderMatch {
        let tokens = self.first_names(depth);
        let path_known = tokens.len() >= self.path_tokens;
        let mut best = FolderMatch::Never;
        // Where a folder can be read in several ways, the way that asks for most is taken.
        Search::new(folder, self.captures.len()).run(tokens, &mut |read| {
            let Some((from, until)) = read.time.range() else { return false };
            let path = path_known.then(|| self.path_part(&read.captures));
            let wanted = range_of(path.as_deref());
            let way = match () {
                () if until <= wanted.from || wanted.until <= from => FolderMatch::OutOfRange,
                () if wanted.from <= from => FolderMatch::Within,
                () => FolderMatch::Straddles,
            };
            best = best.max_by_work(way);
            best == FolderMatch::Within
        });
        best
    }

    /// A text that sorts before every file name that tells a time at or after `cutoff`, within a folder that
    /// straddles `cutoff`; `None` where the names do not sort by time.
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
        let slashes = self.tokens.iter().enumerate().filter(|(_, token)| **token == Token::Slash);
        let end = slashes.map(|(index, _)| index).nth(names - 1).unwrap_or(self.tokens.len());
        &self.tokens[..end]
    }
}

impl FolderMatch {
    fn max_by_work(self, other: Self) -> Self {
        if other as u8 > self as u8 { other } else { self }
    }
}
