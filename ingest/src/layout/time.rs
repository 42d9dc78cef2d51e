//! The time in a key, part by part.

use neartime_model::{Instant, Span};

const UNKNOWN: u16 = u16::MAX;

/// The parts of a time that a layout can name, coarsest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimePart {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

impl TimePart {
    pub(super) const ALL: [Self; 6] = [Self::Year, Self::Month, Self::Day, Self::Hour, Self::Minute, Self::Second];

    /// The part's directive letter, and the least and greatest number that it can be.
    const fn facts(self) -> (char, u16, u16) {
        match self {
            Self::Year => ('Y', 0, 9999),
            Self::Month => ('m', 1, 12),
            Self::Day => ('d', 1, 31),
            Self::Hour => ('H', 0, 23),
            Self::Minute => ('M', 0, 59),
            Self::Second => ('S', 0, 59),
        }
    }

    pub(super) fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.letter() == letter)
    }

    pub(super) const fn letter(self) -> char {
        self.facts().0
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }

    /// How many digits the padded directive has.
    pub(super) const fn digits(self) -> usize {
        match self {
            Self::Year => 4,
            _ => 2,
        }
    }

    /// How long the part is at least; months and years are longer than any chunk.
    pub(super) const fn seconds(self) -> i64 {
        match self {
            Self::Year => 365 * 86_400,
            Self::Month => 28 * 86_400,
            Self::Day => 86_400,
            Self::Hour => 3_600,
            Self::Minute => 60,
            Self::Second => 1,
        }
    }
}

/// The parts that were read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartialTime([u16; 6]);

impl PartialTime {
    pub(super) const NOTHING: Self = Self([UNKNOWN; 6]);

    /// All six parts of `at`; `None` outside the years that four digits can write.
    pub(super) fn of(at: Instant) -> Option<Self> {
        use chrono::{Datelike, Timelike};
        let utc = at.to_utc()?;
        let year = u16::try_from(utc.year()).ok().filter(|year| *year <= 9999)?;
        let rest = [utc.month(), utc.day(), utc.hour(), utc.minute(), utc.second()];
        let mut parts = [year; 6];
        for (part, value) in parts[1..].iter_mut().zip(rest) {
            *part = u16::try_from(value).expect("a part of a civil time is below 60");
        }
        Some(Self(parts))
    }

    pub(super) const fn get(&self, part: TimePart) -> u16 {
        self.0[part as usize]
    }

    /// Notes a part; false where its number does not exist or does not agree with what was read before.
    pub(super) fn note(&mut self, part: TimePart, value: u16) -> bool {
        let (_, least, greatest) = part.facts();
        let known = &mut self.0[part as usize];
        if value < least || value > greatest || (*known != UNKNOWN && *known != value) {
            return false;
        }
        *known = value;
        true
    }

    /// The instant, with zero for what is finer than what is known; `None` for a day that does not exist, or where
    /// the date is not known.
    pub(super) fn instant(&self) -> Option<Instant> {
        let [year, month, day, ..] = self.0;
        if day == UNKNOWN {
            return None;
        }
        let clock = self.0[3..].iter().map(|&part| if part == UNKNOWN { 0 } else { i64::from(part) });
        let seconds = clock.fold(0, |seconds, part| seconds * 60 + part);
        Some(Instant::from_ymd(i32::from(year), u32::from(month), u32::from(day))? + Span::from_secs(seconds))
    }

    /// The instants `[from, until)` that a time with these parts can be, or `None` where no such time exists.
    ///
    /// Only parts without a gap after the year narrow it.
    pub(super) fn range(&self) -> Option<(Instant, Instant)> {
        let [year, month, day, ..] = self.0;
        let (year, month, day) = match (year, month, day) {
            (UNKNOWN, ..) => return Some((Instant::from_micros(i64::MIN), Instant::from_micros(i64::MAX))),
            (year, UNKNOWN, _) => return years(i32::from(year)),
            (year, month, UNKNOWN) => return months(i32::from(year), u32::from(month)),
            known => known,
        };
        let midnight = Instant::from_ymd(i32::from(year), u32::from(month), u32::from(day))?;
        let mut from = midnight;
        let mut span = Span::from_days(1);
        for (part, &value) in TimePart::ALL[3..].iter().zip(&self.0[3..]).take_while(|(_, value)| **value != UNKNOWN) {
            from = from + Span::from_secs(i64::from(value) * part.seconds());
            span = Span::from_secs(part.seconds());
        }
        Some((from, from + span))
    }
}

fn years(year: i32) -> Option<(Instant, Instant)> {
    Some((Instant::from_ymd(year, 1, 1)?, Instant::from_ymd(year + 1, 1, 1)?))
}

fn months(year: i32, month: u32) -> Option<(Instant, Instant)> {
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    Some((Instant::from_ymd(year, month, 1)?, Instant::from_ymd(next.0, next.1, 1)?))
}
