//! Instants from text and numbers, floored to milliseconds.

use std::fmt::Write as _;

use chrono::format::{Fixed, Item, Numeric, Pad, Parsed, StrftimeItems};
use chrono::{FixedOffset, NaiveDateTime, NaiveTime, Offset, TimeZone};
use datafusion::arrow::array::timezone::Tz;

use super::number::{Decimal, small_int};
use super::{Misfit, scalar};
use crate::lines::Raw;
use crate::source::{TimeUnit, Zone};

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z: what four digits of a year can write fits, no more.
const RANGE_MILLIS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
const DAY_MILLIS: i64 = 86_400_000;

/// Reads the instants of one column.
#[derive(Clone, Debug)]
pub(crate) struct TimeReader {
    unit: Unit,
    zone: Option<Tz>,
}

#[derive(Clone, Debug)]
enum Unit {
    /// A number; times ten to this power it is in milliseconds.
    Epoch(i64),
    Iso,
    Strftime(Vec<Item<'static>>),
}

impl TimeReader {
    pub(crate) fn new(unit: &TimeUnit, zone: &Zone) -> Self {
        let unit = match unit {
            TimeUnit::Secs => Unit::Epoch(3),
            TimeUnit::Millis => Unit::Epoch(0),
            TimeUnit::Micros => Unit::Epoch(-3),
            TimeUnit::Iso => Unit::Iso,
            TimeUnit::Strftime(pattern) => Unit::Strftime(items(pattern).expect("checked with the source")),
        };
        Self { unit, zone: zone.tz() }
    }

    /// Whether a strftime pattern can be read. The error says what to write instead.
    pub(crate) fn check(pattern: &str) -> Result<(), &'static str> {
        let items = items(pattern)?;
        let has = |wanted: Item<'static>| items.contains(&wanted);
        if has(Item::Fixed(Fixed::TimezoneName)) {
            return Err("names of zones cannot be read: write the name itself in place of %Z, and set `zone`");
        }
        if has(Item::Numeric(Numeric::Nanosecond, Pad::Zero)) {
            return Err(
                "%f counts nanoseconds: write %.f for a fraction with its dot, or %3f, %6f, %9f for its digits alone",
            );
        }
        // An instant that it has written must be read back; some items can only be read.
        let (at, mut text) = (chrono::DateTime::UNIX_EPOCH, String::new());
        match write!(text, "{}", at.format_with_items(items.iter())) {
            Ok(()) if strftime(&text, &items, None).is_none() => {
                Err("it tells no instant: it needs a date, and %p beside %I or %l")
            }
            _ => Ok(()),
        }
    }

    /// Milliseconds since the epoch; `None` where nothing was sent.
    #[inline]
    pub(crate) fn read(&self, raw: Raw<'_>, scratch: &mut Vec<u8>) -> Result<Option<i64>, Misfit> {
        let known = match (raw, &self.unit) {
            (Raw::Bool(_) | Raw::Container(_), _) => return Err(Misfit),
            // What nearly every number is needs no further look at its text.
            (Raw::Number(digits), Unit::Epoch(power)) => small_int(digits).and_then(|number| in_millis(number, *power)),
            _ => None,
        };
        if let Some(millis) = known.filter(|millis| RANGE_MILLIS.contains(millis)) {
            return Ok(Some(millis));
        }
        let Some(text) = scalar(raw, scratch)? else { return Ok(None) };
        let millis = match &self.unit {
            Unit::Epoch(power) => epoch(text, *power),
            Unit::Iso => iso(text, self.zone),
            Unit::Strftime(items) => strftime(text, items, self.zone),
        };
        millis.filter(|millis| RANGE_MILLIS.contains(millis)).map(Some).ok_or(Misfit)
    }
}

/// What a strftime pattern says. `.%f` is a fraction of any length, as Python writes it.
fn items(pattern: &str) -> Result<Vec<Item<'static>>, &'static str> {
    let items = StrftimeItems::new(&pattern.replace(".%f", "%.f")).parse_to_owned();
    items.ok().filter(|_| pattern.contains('%')).ok_or("write s, ms, us, iso or a strftime pattern")
}

#[inline]
fn epoch(text: &str, power: i64) -> Option<i64> {
    match small_int(text.as_bytes()) {
        Some(number) => in_millis(number, power),
        None => Decimal::parse(text)?.floor_scaled(power),
    }
}

/// A whole number times `10^power`, floored, if that fits.
#[inline]
fn in_millis(number: i64, power: i64) -> Option<i64> {
    match power {
        0 => Some(number),
        3 => number.checked_mul(1_000),
        _ => Some(number.div_euclid(1_000)),
    }
}

/// `2015-09-12T00:46:58.771Z`: `T` or space, any number of digits of the second, `Z`, an offset or nothing; seconds
/// may be left out, and the time too.
#[inline]
fn iso(text: &str, zone: Option<Tz>) -> Option<i64> {
    let (day, rest) = iso_date(text.as_bytes())?;
    let (time, rest) = match rest {
        [] => (0, rest),
        [b'T' | b't' | b' ', rest @ ..] => iso_time(rest)?,
        _ => return None,
    };
    let local = day * DAY_MILLIS + time;
    match rest {
        [] => match zone {
            None => Some(local),
            Some(zone) => in_zone(chrono::DateTime::from_timestamp_millis(local)?.naive_utc(), zone),
        },
        rest => Some(local - offset_millis(rest)?),
    }
}

/// Days since the epoch.
#[inline]
fn iso_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (date, rest) = text.split_at_checked(10)?;
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = two_digits(date, 0)? * 100 + two_digits(date, 2)?;
    let (month, day) = (two_digits(date, 5)?, two_digits(date, 8)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) {
        return None;
    }
    Some((days_from_civil(year, month, day), rest))
}

/// Milliseconds of the day; `60` seconds are the next minute's first.
#[inline]
fn iso_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, minute) = (two_digits(text, 0)?, two_digits(text, 3)?);
    if text[2] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let minutes = (hour * 60 + minute) * 60_000;
    let rest = &text[5..];
    let [b':', rest @ ..] = rest else { return Some((minutes, rest)) };
    let second = two_digits(rest, 0).filter(|second| *second <= 60)?;
    let rest = &rest[2..];
    let [b'.' | b',', rest @ ..] = rest else { return Some((minutes + second * 1_000, rest)) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let digit = |at: usize| if at < digits { i64::from(rest[at] - b'0') } else { 0 };
    let millis = digit(0) * 100 + digit(1) * 10 + digit(2);
    Some((minutes + second * 1_000 + millis, &rest[digits..]))
}

/// The milliseconds that `Z`, `+02:00`, `+0200` or `+02`, perhaps after a space, is ahead of UTC.
#[inline]
fn offset_millis(text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (sign, digits) = match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let minutes = match digits.len() {
        2 => 0,
        4 => two_digits(digits, 2)?,
        5 if digits[2] == b':' => two_digits(digits, 3)?,
        _ => return None,
    };
    let hours = two_digits(digits, 0)?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

#[inline]
fn two_digits(text: &[u8], at: usize) -> Option<i64> {
    match text.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0')),
        _ => None,
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, by Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// What a strftime pattern reads; without a time of day it is midnight.
fn strftime(text: &str, items: &[Item<'static>], zone: Option<Tz>) -> Option<i64> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
    if parsed.timestamp().is_some() {
        return Some(parsed.to_datetime_with_timezone(&chrono::Utc).ok()?.timestamp_millis());
    }
    let date = parsed.to_naive_date().ok()?;
    let time = if parsed.hour_mod_12().is_none() {
        NaiveTime::MIN
    } else {
        if parsed.minute().is_none() {
            parsed.set_minute(0).ok()?;
        }
        parsed.to_naive_time().ok()?
    };
    let local = date.and_time(time);
    match (parsed.offset(), zone) {
        // Nowhere is a clock a day or more ahead, but the pattern takes any four digits.
        (Some(offset), _) => {
            FixedOffset::east_opt(offset)?;
            Some(local.and_utc().timestamp_millis() - i64::from(offset) * 1_000)
        }
        (None, Some(zone)) => in_zone(local, zone),
        (None, None) => Some(local.and_utc().timestamp_millis()),
    }
}

/// The first instant that a clock in `zone` shows `local`; `None` where it never does.
fn in_zone(local: NaiveDateTime, zone: Tz) -> Option<i64> {
    let offset = zone.offset_from_local_datetime(&local).earliest()?;
    Some(local.and_utc().timestamp_millis() - i64::from(offset.fix().local_minus_utc()) * 1_000)
}
