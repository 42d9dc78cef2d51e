//! Layouts and keys, against a naive reading of the same: the first line of the input is the layout, the second the
//! beginning of the wanted time, each other line a key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neartime_fuzz::folders::{Folder, folder, names_from};
use neartime_fuzz::layout::Layout;
use neartime_model::Instant;

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Char(char),
    Star,
    Capture,
    Time(char, bool),
}

/// The pieces of a layout that is known to be one.
fn pieces(text: &str) -> Vec<Piece> {
    let (mut pieces, mut rest) = (Vec::new(), text.chars());
    while let Some(char) = rest.next() {
        pieces.push(match char {
            '*' => Piece::Star,
            '{' => {
                assert!(rest.by_ref().any(|char| char == '}'));
                Piece::Capture
            }
            '%' => match rest.next() {
                Some('%') => Piece::Char('%'),
                Some('-') => Piece::Time(rest.next().expect("a letter"), false),
                letter => Piece::Time(letter.expect("a letter"), true),
            },
            other => Piece::Char(other),
        });
    }
    pieces
}

type Time = [Option<u32>; 6];

/// What a key tells: by the rule, the first way of reading it in which everything agrees.
fn read(pieces: &[Piece], key: &str, time: Time, captures: &mut Vec<String>) -> Option<Instant> {
    let Some((piece, rest)) = pieces.split_first() else {
        return if key.is_empty() { instant(time) } else { None };
    };
    let name_end = key.find('/').unwrap_or(key.len());
    let ends = |least: usize| (least..=name_end).filter(|end| key.is_char_boundary(*end));
    match piece {
        Piece::Char(char) => read(rest, key.strip_prefix(*char)?, time, captures),
        Piece::Star => ends(0).rev().find_map(|end| read(rest, &key[end..], time, captures)),
        Piece::Capture => ends(1).find_map(|end| {
            let known = captures.len();
            captures.push(key[..end].to_owned());
            let found = read(rest, &key[end..], time, captures);
            if found.is_none() {
                captures.truncate(known);
            }
            found
        }),
        Piece::Time(letter, padded) => {
            let at = "YmdHMS".find(*letter).expect("a directive");
            let lengths: &[usize] = if !padded {
                &[2, 1]
            } else if at == 0 {
                &[4]
            } else {
                &[2]
            };
            lengths.iter().find_map(|&length| {
                let digits = key.get(..length).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
                if !padded && length == 2 && digits.starts_with('0') {
                    return None;
                }
                let value: u32 = digits.parse().ok()?;
                let (least, most) = [(0, 9999), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59)][at];
                if !(least..=most).contains(&value) || time[at].is_some_and(|known| known != value) {
                    return None;
                }
                let mut time = time;
                time[at] = Some(value);
                read(rest, &key[length..], time, captures)
            })
        }
    }
}

fn instant(time: Time) -> Option<Instant> {
    let [year, month, day, hour, minute, second] = time.map(|part| part.unwrap_or(0));
    let day = chrono::NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    Some(Instant::from_secs(day.and_hms_opt(hour, minute, second)?.and_utc().timestamp()))
}

/// The folders that a wanted file lies in must not be passed over, nor its name be sorted out.
fn check_folders(layout: &Layout, key: &str, at: Instant, from: Instant) {
    let (wanted, mut cutoff) = (at >= from, Some(from));
    for (depth, (slash, _)) in key.match_indices('/').enumerate() {
        match folder(layout, &key[..slash], depth + 1, from) {
            Folder::Never => panic!("{layout}: a folder of {key} never matches"),
            Folder::OutOfRange => return assert!(!wanted, "{layout}: a folder of {key} is out of range from {from}"),
            Folder::Wanted { whole, cutoff: begins } => {
                assert!(wanted || !whole, "{layout}: {key} is not wanted from {from}");
                cutoff = begins;
            }
        }
    }
    if wanted && let Some(floor) = cutoff.and_then(|cutoff| names_from(layout, cutoff)) {
        let name = key.rsplit('/').next().expect("the last of some");
        assert!(name > floor.as_str(), "{layout}: {name} is before {floor}, from {from}");
    }
}

fn check(layout: &Layout, pieces: &[Piece], key: &str, from: Instant) {
    let mut captures = Vec::new();
    let hidden = key.split('/').any(|name| name.starts_with(['.', '_']));
    let expected = if hidden { None } else { read(pieces, key, [None; 6], &mut captures) };
    let Some(found) = layout.match_key(key) else {
        return assert_eq!(None, expected, "{layout} on {key:?}");
    };
    let read_captures: Vec<&str> = found.path_captures.iter().chain(&found.row_captures).copied().collect();
    assert_eq!(
        (Some(found.at), &read_captures),
        (expected, &captures.iter().map(String::as_str).collect()),
        "{layout} on {key:?}"
    );
    let first_time = pieces.iter().position(|piece| matches!(piece, Piece::Time(..))).expect("a layout tells a time");
    let in_path = pieces[..first_time].iter().filter(|piece| **piece == Piece::Capture).count();
    assert_eq!(found.path_captures.len(), in_path, "{layout} on {key:?}");
    let free = pieces.contains(&Piece::Star);
    match layout.format_key(&read_captures, found.at, "free") {
        Ok(written) if free => {
            let again = layout.match_key(&written).expect("what was written");
            assert_eq!(
                (again.at, again.path_captures, again.row_captures),
                (found.at, found.path_captures, found.row_captures)
            );
        }
        // Without a star there is one key for what the key told.
        written => assert!(free || written.as_deref() == Ok(key), "{layout} on {key:?}: {written:?}"),
    }
    for from in [from, found.at, Instant::from_micros(found.at.as_micros() + 1)] {
        check_folders(layout, key, found.at, from);
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let (written, from) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let Ok(layout) = Layout::parse(written) else { return };
    assert_eq!(layout.to_string(), written);
    let pieces = pieces(written);
    // Each piece that may end anywhere multiplies the ways of reading a key.
    if pieces.iter().filter(|piece| matches!(piece, Piece::Star | Piece::Capture)).count() > 4 {
        return;
    }
    let from = from.parse().unwrap_or(Instant::from_secs(1_533_120_154));
    for key in lines.filter(|key| key.len() < 100) {
        check(&layout, &pieces, key, from);
    }
});
