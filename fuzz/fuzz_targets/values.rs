//! Text to typed values: texts against the standard library, numbers against arithmetic on their digits and
//! serde_json, instants against a regular expression and chrono.

#![no_main]

use std::cell::RefCell;
use std::cmp::Ordering;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use libfuzzer_sys::fuzz_target;
use neartime_fuzz::rows::{Column, Value};
use neartime_fuzz::source::{ColumnKind, TimeUnit};
use regex::Regex;

const STRFTIME: [&str; 6] =
    ["%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d %H:%M:%S%.f", "%Y%m%d", "%s", "%Y%m%d%H%M", "%A, %d %B %y %I:%M:%S %p %z"];
const ZONES: [&str; 3] = ["UTC", "+02:00", "Europe/Berlin"];

/// A number by its digits: `digits · 10^exponent`, no zeros at either end.
#[derive(Clone)]
struct Number {
    negative: bool,
    digits: Vec<u8>,
    exponent: i128,
}

impl Number {
    /// Digits with a sign, a point and an exponent, each of them optional.
    fn of(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (amount, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 {
            return None;
        }
        let mut number = Self {
            negative,
            digits: [whole.as_bytes(), fraction.as_bytes()].concat(),
            exponent: -(fraction.len() as i128),
        };
        if let Some(exponent) = exponent {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !is_digits(digits) {
                return None;
            }
            let most = 10_i128.pow(30);
            let amount = digits.bytes().fold(0, |sum, digit| (sum * 10 + i128::from(digit - b'0')).min(most));
            number.exponent += if exponent.starts_with('-') { -amount } else { amount };
        }
        while number.digits.last() == Some(&b'0') {
            number.digits.pop();
            number.exponent += 1;
        }
        let zeros = number.digits.iter().take_while(|digit| **digit == b'0').count();
        number.digits.drain(..zeros);
        Some(number)
    }

    /// The number times `10^power`, floored, and whether it was whole; `None` if it does not fit.
    fn floored(mut self, power: i128) -> Option<(i64, bool)> {
        if self.digits.is_empty() {
            return Some((0, true));
        }
        self.exponent += power;
        let length = self.digits.len() as i128 + self.exponent;
        if length > 20 {
            return None;
        }
        let whole = self.exponent >= 0;
        self.digits.resize(usize::try_from(length).unwrap_or(0), b'0');
        let amount = self.digits.iter().fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        let number = if self.negative { -amount - i128::from(!whole) } else { amount };
        Some((i64::try_from(number).ok()?, whole))
    }
}

fn or_misfit<T>(value: Option<T>, kind: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Misfit, kind)
}

fn int(text: &str) -> Value {
    or_misfit(Number::of(text).and_then(|number| number.floored(0)).filter(|(_, whole)| *whole), |(int, _)| {
        Value::Int(int)
    })
}

fn float(text: &str) -> Value {
    // Beyond what is written as a number is whatever else the standard library reads: `inf`, `NaN`.
    let number = Number::of(text).and_then(|_| text.parse().ok()).filter(|number: &f64| number.is_finite());
    if let Ok(json) = serde_json::from_str::<f64>(text) {
        assert_eq!(number.map(|number| number.total_cmp(&json)), Some(Ordering::Equal), "{text}");
    }
    or_misfit(number, Value::Float)
}

fn bool(text: &str) -> Value {
    match text.to_ascii_lowercase().as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::Misfit,
    }
}

/// Years that four digits can write.
fn millis(millis: Option<i64>) -> Value {
    let instant = millis.filter(|millis| (-62_135_596_800_000..=253_402_300_799_999).contains(millis));
    or_misfit(instant, Value::Millis)
}

/// The first instant at which a clock in this zone shows `local`.
fn first_in(zone: &str, local: NaiveDateTime) -> Option<i64> {
    let ahead = match zone {
        "UTC" => 0,
        "+02:00" => 7_200,
        "Europe/Berlin" => {
            chrono_tz::Europe::Berlin.offset_from_local_datetime(&local).earliest()?.fix().local_minus_utc()
        }
        other => panic!("no reading of {other}"),
    };
    Some(local.and_utc().timestamp_millis() - i64::from(ahead) * 1_000)
}

fn iso(regex: &Regex, text: &str, zone: &str) -> Option<i64> {
    let parts = regex.captures(text)?;
    let number = |at: usize| parts.get(at).map_or(0, |part| part.as_str().parse::<u32>().expect("two or four digits"));
    let day = NaiveDate::from_ymd_opt(i32::try_from(number(1)).ok()?, number(2), number(3))?;
    let second = number(6);
    // A leap second is the next minute's first.
    let time = day.and_hms_opt(number(4), number(5), second.min(59))?;
    if second > 60 {
        return None;
    }
    let fraction = parts.get(7).map_or("", |part| part.as_str());
    let thousandths: i64 = format!("{fraction:0<3}")[..3].parse().expect("three digits");
    let local = time + TimeDelta::seconds(i64::from(second / 60)) + TimeDelta::milliseconds(thousandths);
    match parts.get(8).map(|offset| offset.as_str()) {
        None => first_in(zone, local),
        Some("Z" | "z") => Some(local.and_utc().timestamp_millis()),
        Some(offset) => {
            let digits: String = offset[1..].chars().filter(char::is_ascii_digit).collect();
            let (hours, minutes) = (digits[..2].parse::<i32>().ok()?, digits[2..].parse::<i32>().unwrap_or(0));
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = (hours * 60 + minutes) * if offset.starts_with('-') { -60 } else { 60 };
            let offset = FixedOffset::east_opt(seconds)?;
            Some((local - offset).and_utc().timestamp_millis())
        }
    }
}

fn strftime(text: &str, pattern: &str, zone: &str) -> Option<i64> {
    match pattern {
        "%s" => Some(
            DateTime::from_timestamp(NaiveDateTime::parse_from_str(text, pattern).ok()?.and_utc().timestamp(), 0)?
                .timestamp_millis(),
        ),
        "%Y%m%d" => first_in(zone, NaiveDate::parse_from_str(text, pattern).ok()?.and_hms_opt(0, 0, 0)?),
        _ if pattern.ends_with("%z") => Some(DateTime::parse_from_str(text, pattern).ok()?.timestamp_millis()),
        _ => first_in(zone, NaiveDateTime::parse_from_str(text, pattern).ok()?),
    }
}

struct Columns {
    text: Column,
    int: Column,
    float: Column,
    bool: Column,
    list: Column,
    epochs: [(i128, Column); 3],
    iso: Vec<(&'static str, Column)>,
    strftime: Vec<(&'static str, &'static str, Column)>,
    regex: Regex,
}

impl Columns {
    fn new() -> Self {
        let time = |unit: &str, zone: &str| {
            let (unit, zone): (TimeUnit, _) = (unit.parse().expect("a unit"), zone.parse().expect("a zone"));
            Column::new(&ColumnKind::Timestamp { unit, zone })
        };
        let both = |pattern| ZONES.map(|zone| (pattern, zone, time(pattern, zone)));
        Self {
            text: Column::new(&ColumnKind::String),
            int: Column::new(&ColumnKind::Int),
            float: Column::new(&ColumnKind::Float),
            bool: Column::new(&ColumnKind::Bool),
            list: Column::new(&ColumnKind::ListString),
            epochs: [(3, time("s", "UTC")), (0, time("ms", "+02:00")), (-3, time("us", "UTC"))],
            iso: ZONES.map(|zone| (zone, time("iso", zone))).into(),
            strftime: STRFTIME.into_iter().flat_map(both).collect(),
            regex: Regex::new(
                r"^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?(?: ?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?))?)?$",
            )
            .expect("a regular expression"),
        }
    }
}

thread_local! {
    static COLUMNS: RefCell<Columns> = RefCell::new(Columns::new());
}

fn check(columns: &mut Columns, bytes: &[u8]) {
    let whole = std::str::from_utf8(bytes).ok();
    let shown = String::from_utf8_lossy(bytes);
    assert_eq!(columns.text.text(bytes), or_misfit(whole, |text| Value::Text(text.to_owned())), "{shown:?}");
    let list = match whole {
        Some("") => Value::Null,
        _ => or_misfit(whole, |text| Value::List(vec![Some(text.to_owned())])),
    };
    assert_eq!(columns.list.text(bytes), list, "{shown:?}");
    let is_number = serde_json::from_slice::<serde_json::Number>(bytes).is_ok() && bytes.trim_ascii() == bytes;
    let same = |column: &mut Column, expected: &dyn Fn(&str) -> Value, what: &str| {
        let expected = match whole {
            None => Value::Misfit,
            Some("") => Value::Null,
            Some(text) => expected(text.trim_ascii()),
        };
        assert_eq!(column.text(bytes), expected, "{what} of {shown:?}");
        if is_number {
            assert_eq!(column.number(bytes), expected, "{what} of the number {shown:?}");
        }
    };
    same(&mut columns.int, &int, "int");
    same(&mut columns.float, &float, "float");
    for (power, column) in &mut columns.epochs {
        let epoch = |text: &str| millis(Number::of(text).and_then(|number| number.floored(*power)).map(|(at, _)| at));
        same(column, &epoch, "epoch");
    }
    for (zone, column) in &mut columns.iso {
        same(column, &|text| millis(iso(&columns.regex, text, zone)), zone);
    }
    for (pattern, zone, column) in &mut columns.strftime {
        // chrono itself wants a whole time of day, which a pattern need not tell.
        if pattern.ends_with("%Z") {
            let _ = column.text(bytes);
        } else {
            same(column, &|text| millis(strftime(text, pattern, zone)), pattern);
        }
    }
    let expected = match whole {
        None => Value::Misfit,
        Some("") => Value::Null,
        Some(text) => bool(text.trim_ascii()),
    };
    assert_eq!(columns.bool.text(bytes), expected, "bool of {shown:?}");
}

fuzz_target!(|data: &[u8]| COLUMNS.with_borrow_mut(|columns| check(columns, data)));
