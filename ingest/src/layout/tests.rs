use std::collections::BTreeMap;

use neartime_model::{ChunkWidth, Instant, Span};
use proptest::prelude::*;
use regex::Regex;

use super::*;

const SEED: &str = "{brand}/{platform}/%Y/%m/%d/%Y%m-%d-%H%M%S.gz";

fn layout(text: &str) -> Layout {
    Layout::parse(text).unwrap()
}

fn at(text: &str) -> Instant {
    text.parse().unwrap()
}

fn refusal(text: &str) -> String {
    Layout::parse(text).unwrap_err().to_string()
}

#[test]
fn the_seed_file_is_due_at_10_53() {
    let layout = layout(SEED);
    let matched = layout.match_key("olx/android/2018/08/01/201808-01-104234.gz").unwrap();
    assert_eq!(layout.path_part(&matched.path_captures), "olx/android/");
    assert_eq!(matched.path_captures, ["olx", "android"]);
    assert!(matched.row_captures.is_empty());
    let chunk = ChunkWidth::TEN_MINUTES.chunk_of(matched.at);
    assert_eq!(chunk.start(), at("2018-08-01T10:40:00Z"));
    assert_eq!(chunk.due(Span::from_mins(3)), at("2018-08-01T10:53:00Z"));
}

#[test]
fn the_hourly_folders_of_the_seed() {
    let layout = layout("data/auctions/y=%Y/m=%m/d=%d/H=%H/*.gz");
    let matched = layout.match_key("data/auctions/y=2015/m=10/d=17/H=09/file1ab.gz").unwrap();
    assert_eq!(matched.at, at("2015-10-17T09:00:00Z"));
    assert_eq!(layout.path_part(&matched.path_captures), "data/auctions/y=");
    assert_eq!(layout.finest(), Span::from_mins(60));
}

#[test]
fn six_minute_logs() {
    let layout = layout("%Y/%m/%d/%H%M*.gz");
    let width = ChunkWidth::new(Span::from_mins(6)).unwrap();
    let chunk = |key| width.chunk_of(layout.match_key(key).unwrap().at).start();
    assert_eq!(chunk("2021/12/20/1017-a.gz"), at("2021-12-20T10:12:00Z"));
    assert_eq!(chunk("2021/12/20/1018.gz"), at("2021-12-20T10:18:00Z"));
    assert_eq!(layout.path_part::<&str>(&[]), "");
}

#[test]
fn what_matches_and_what_does_not() {
    for (text, key, expected) in [
        ("%Y-%-m-%-d/%-H.gz", "2020-2-9/7.gz", Some("2020-02-09T07:00:00Z")),
        ("%Y-%-m-%-d/%-H.gz", "2020-12-31/23.gz", Some("2020-12-31T23:00:00Z")),
        ("%Y-%-m-%-d/%-H.gz", "2020-02-9/7.gz", None),
        ("%Y-%-m-%-d/%-H.gz", "2020-2-9/0.gz", Some("2020-02-09T00:00:00Z")),
        ("%Y%-m%-d.gz", "2020111.gz", Some("2020-11-01T00:00:00Z")),
        ("%Y%-m%-d.gz", "2020131.gz", Some("2020-01-31T00:00:00Z")),
        ("%Y/%m/%d.gz", "2020/02/29.gz", Some("2020-02-29T00:00:00Z")),
        ("%Y/%m/%d.gz", "2021/02/29.gz", None),
        ("%Y/%m/%d.gz", "2021/13/01.gz", None),
        ("%Y/%m/%d.gz", "2021/00/01.gz", None),
        ("%Y/%m/%d.gz", "2021/1/01.gz", None),
        ("%Y/%m/%d.gz", "2021/01/01.gz/x", None),
        ("%Y/%m/%d.gz", "x/2021/01/01.gz", None),
        ("%Y/%m/%d/%H.gz", "2021/01/01/24.gz", None),
        ("%Y/%m/%d/%Y.gz", "2021/01/01/2022.gz", None),
        ("%Y%m%d%H%M%S*", "20210101235959", Some("2021-01-01T23:59:59Z")),
        ("%Y%m%d%H%M%S*", "20210101235960", None),
        ("100%%/%Y%m%d", "100%/20210101", Some("2021-01-01T00:00:00Z")),
        ("*%Y%m%d*", "logs-1-20210101-2.gz", Some("2021-01-01T00:00:00Z")),
        ("*%Y%m%d*", "12345678920210101", Some("2021-01-01T00:00:00Z")),
        ("%Y%m%d/*", "20210101/", Some("2021-01-01T00:00:00Z")),
        ("%Y%m%d/*", "20210101/_SUCCESS", None),
        ("%Y%m%d/*", "20210101/.part.gz", None),
        ("*/%Y%m%d", "_temporary/20210101", None),
        ("*/%Y%m%d", "a b+c%20d#é/20210101", Some("2021-01-01T00:00:00Z")),
    ] {
        let found = layout(text).match_key(key).map(|matched| matched.at);
        assert_eq!(found, expected.map(at), "{text} on {key}");
    }
}

#[test]
fn captures_take_as_few_characters_as_fit() {
    for (text, key, path, row) in [
        ("{a}-{b}/%Y%m%d", "x-y-z/20210101", vec!["x", "y-z"], vec![]),
        ("{a}{b}/%Y%m%d", "xyz/20210101", vec!["x", "yz"], vec![]),
        ("*-{a}/%Y%m%d", "x-y-z/20210101", vec!["z"], vec![]),
        ("{a}é{b}/%Y%m%d", "éééé/20210101", vec!["é", "éé"], vec![]),
        ("%Y%m%d-{host}-{n}.gz", "20210101-web-1-7.gz", vec![], vec!["web", "1-7"]),
        ("{a}/%Y%m%d%H{n}.gz", "p/2021010112.gz.gz", vec!["p"], vec![".gz"]),
    ] {
        let layout = layout(text);
        let matched = layout.match_key(key).unwrap();
        assert_eq!((matched.path_captures, matched.row_captures), (path, row), "{text} on {key}");
    }
    assert!(layout("%Y%m%d{n}.gz").match_key("20210101.gz").is_none(), "a capture is never empty");
}

#[test]
fn stars_before_the_time_make_one_path() {
    let layout = layout("{brand}/*/log-%Y%m%d.gz");
    let matched = layout.match_key("olx/host7/log-20210101.gz").unwrap();
    assert_eq!(layout.path_part(&matched.path_captures), "olx/*/log-");
}

#[test]
fn refusals_name_the_character() {
    assert!(refusal("%Y/%m/%d/%y.gz").contains("at character 10, `%y` is no directive"), "{}", refusal("%y"));
    assert!(refusal("é%q").contains("at character 2, `%q`"));
    for (text, reason) in [
        ("%Y/%m/%d/%", "`%` is no directive"),
        ("%Y/%m/%d/%-", "`%-` is no directive"),
        ("%Y/%m/%d/%-M", "`%-M` is no directive"),
        ("%Y/%m/%d/%-%.gz", "`%-%` is no directive"),
        ("{a}/{a}/%Y%m%d", "stands twice"),
        ("{a/%Y%m%d", "never closed"),
        ("{}/%Y%m%d", "`{}` is no capture"),
        ("{data_chunk}/%Y%m%d", "may be named `data_chunk`"),
        ("a}/%Y%m%d", "closes nothing"),
        ("*.gz", "names no time"),
        ("%Y/%m/x.gz", "the day (%d) is missing"),
        ("%H%M.gz", "the year (%Y) is missing"),
        ("%Y%m%d/%M.gz", "the hour (%H) is missing"),
        ("/%Y%m%d", "empty name"),
        ("%Y%m%d/", "empty name"),
        ("a//%Y%m%d", "empty name"),
        ("", "empty name"),
        ("_raw/%Y%m%d", "are skipped"),
    ] {
        assert!(refusal(text).contains(reason), "{text}: {}", refusal(text));
    }
}

#[test]
fn formats_the_names_that_it_matches() {
    let seed = layout(SEED);
    let key = seed.format_key(&["olx", "android"], at("2018-08-01T10:42:34Z"), "x").unwrap();
    assert_eq!(key, "olx/android/2018/08/01/201808-01-104234.gz");
    assert!(!seed.has_free_text());
    let free = layout("*/%Y/%-m/%-d/*-%H%M*.gz");
    assert!(free.has_free_text());
    assert_eq!(free.format_key(&[], at("2018-08-01T10:42:34Z"), "7a").unwrap(), "7a/2018/8/1/-10427a.gz");
}

#[test]
fn refuses_to_write_what_it_would_read_otherwise() {
    let layout = layout("{a}-{b}/%Y%m%d.gz");
    let time = at("2018-08-01T10:42:34Z");
    for captures in [&["x-y", "z"][..], &["", "z"], &["x/y", "z"], &[".x", "z"], &["x"]] {
        assert!(layout.format_key(captures, time, "x").is_err(), "{captures:?}");
    }
    assert!(layout.format_key(&["x", "y"], Instant::from_ymd(12_018, 8, 1).unwrap(), "x").is_err());
}

#[test]
fn folders_outside_of_the_range_are_pruned() {
    let layout = layout(SEED);
    let from = at("2018-08-01T00:00:00Z");
    let range = |_: Option<&str>| TimeRange { from, ..TimeRange::ALL };
    let within = FolderMatch::Wanted { whole: true, cutoff: None };
    let straddles = FolderMatch::Wanted { whole: false, cutoff: Some(from) };
    for (folder, expected) in [
        ("", straddles),
        ("olx", straddles),
        ("olx/android", straddles),
        ("olx/android/2017", FolderMatch::OutOfRange),
        ("olx/android/2018", straddles),
        ("olx/android/2019", within),
        ("olx/android/x", FolderMatch::Never),
        ("olx/android/2018/07", FolderMatch::OutOfRange),
        ("olx/android/2018/08", within),
        ("olx/android/2018/13", FolderMatch::Never),
        ("olx/android/2018/07/31", FolderMatch::OutOfRange),
        ("olx/android/2018/08/01", within),
        ("olx/android/2018/09/31", FolderMatch::Never),
    ] {
        let depth = folder.split('/').filter(|name| !name.is_empty()).count();
        assert_eq!(layout.match_folder(folder, depth, &range), expected, "{folder}");
    }
}

#[test]
fn the_range_may_hang_on_the_path() {
    let layout = layout(SEED);
    let ranges = BTreeMap::from([("olx/android/", at("2018-08-02T00:00:00Z"))]);
    let range = |path: Option<&str>| {
        let from = path.and_then(|path| ranges.get(path)).copied();
        TimeRange { from: from.unwrap_or(TimeRange::ALL.from), ..TimeRange::ALL }
    };
    assert_eq!(layout.match_folder("olx/android/2018/08/01", 5, &range), FolderMatch::OutOfRange);
    let within = FolderMatch::Wanted { whole: true, cutoff: None };
    assert_eq!(layout.match_folder("olx/ios/2018/08/01", 5, &range), within);
    let unsure = FolderMatch::Wanted { whole: false, cutoff: None };
    assert_eq!(layout.match_folder("olx", 1, &range), unsure);
}

#[test]
fn a_folder_that_can_be_read_in_two_ways_is_wanted_whole_in_neither() {
    let layout = layout("*%Y*/%m/%d");
    let range = |_: Option<&str>| TimeRange { from: at("2018-01-01"), ..TimeRange::ALL };
    let within = FolderMatch::Wanted { whole: true, cutoff: None };
    assert_eq!(layout.match_folder("2018", 1, &range), within);
    // 2018 behind a 0, or 201 before an 8.
    let either = FolderMatch::Wanted { whole: false, cutoff: None };
    assert_eq!(layout.match_folder("02018", 1, &range), either);
}

#[test]
fn names_sort_where_the_time_in_them_does() {
    let cutoff = at("2018-08-01T10:42:34Z");
    for (text, floor) in [
        (SEED, Some("201808-01-104234.g")),
        ("%Y/%m/%d/%H%M*.gz", Some("1042")),
        ("log-%Y%m%d.gz", Some("log-20180801.g")),
        ("log-%Y%m%d", Some("log-2018080")),
        ("log-%Y%m%d*", Some("log-2018080")),
        ("%Y/%m/%d/*.gz", None),
        ("%Y/%m/%d/{x}-%H.gz", None),
        ("%d-%m-%Y.gz", None),
        ("log-%d-%m-%Y.gz", Some("log-")),
        ("%Y-%d-%m.gz", Some("2018-")),
        ("%Y-%-m-%-d.gz", Some("2018-")),
        ("%Y/%d/%m/%H.gz", Some("10.g")),
    ] {
        assert_eq!(layout(text).names_from(cutoff).as_deref(), floor, "{text}");
    }
}

/// What fuzzing kept: a layout, an instant and keys, one on each line.
#[test]
fn what_fuzzing_kept_is_read_and_written_again() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/layouts");
    let mut matches = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.split('\n');
        let layout = Layout::parse(lines.next().unwrap());
        let refused = path.file_name().unwrap().to_str().unwrap().starts_with("refused_");
        assert!(layout.is_err() || !refused, "{}", path.display());
        let Ok(layout) = layout else { continue };
        for key in lines.skip(1) {
            let Some(matched) = layout.match_key(key) else { continue };
            let captures = [matched.path_captures.clone(), matched.row_captures.clone()].concat();
            if let Ok(written) = layout.format_key(&captures, matched.at, "free") {
                assert_eq!(layout.match_key(&written).unwrap().at, matched.at, "{layout} on {key}");
                assert!(layout.has_free_text() || written == key, "{layout} on {key}: {written}");
            }
            matches += 1;
        }
    }
    assert!(matches > 15, "{matches}");
}

/// The layout as a regex with a group for each directive and capture: what a first version would have done.
fn naive_match(text: &str, key: &str) -> Option<(Vec<String>, Instant)> {
    let mut pattern = String::from("^");
    let mut rest = text.chars().peekable();
    let mut fields = Vec::new();
    while let Some(character) = rest.next() {
        match character {
            '*' => pattern.push_str("[^/]*"),
            '{' => {
                rest.by_ref().take_while(|c| *c != '}').for_each(drop);
                fields.push('{');
                pattern.push_str("([^/]+?)");
            }
            '%' => {
                let letter = rest.next().unwrap();
                let unpadded = letter == '-';
                let letter = if unpadded { rest.next().unwrap() } else { letter };
                fields.push(letter);
                pattern.push_str(match (letter, unpadded) {
                    ('Y', _) => "([0-9]{4})",
                    ('m', false) => "(0[1-9]|1[0-2])",
                    ('m', true) => "(1[0-2]|[1-9])",
                    ('d', false) => "(0[1-9]|[12][0-9]|3[01])",
                    ('d', true) => "([12][0-9]|3[01]|[1-9])",
                    ('H', false) => "([01][0-9]|2[0-3])",
                    ('H', true) => "(1[0-9]|2[0-3]|[0-9])",
                    _ => "([0-5][0-9])",
                });
            }
            other => pattern.push_str(&regex::escape(&other.to_string())),
        }
    }
    let found = Regex::new(&format!("{pattern}$")).unwrap().captures(key)?;
    let mut captures = Vec::new();
    let mut time: BTreeMap<char, u32> = BTreeMap::new();
    for (field, value) in fields.iter().zip(found.iter().skip(1).map(|group| group.unwrap().as_str())) {
        if *field == '{' {
            captures.push(value.to_owned());
        } else {
            let value = value.parse().unwrap();
            if *time.entry(*field).or_insert(value) != value {
                return None;
            }
        }
    }
    if key.split('/').any(|name| name.starts_with('.') || name.starts_with('_')) {
        return None;
    }
    let part = |letter| time.get(&letter).copied().unwrap_or(0);
    let year = i32::try_from(part('Y')).unwrap();
    let civil = chrono::NaiveDate::from_ymd_opt(year, part('m'), part('d'))?;
    let civil = civil.and_hms_opt(part('H'), part('M'), part('S'))?;
    Some((captures, Instant::from_micros(civil.and_utc().timestamp_micros())))
}

/// Layouts without two directives of one kind: a regex has no words for those that agree.
const LAYOUTS: [&str; 8] = [
    "{brand}/{platform}/%Y/%m/%d/%H%M%S.gz",
    "data/y=%Y/m=%m/d=%d/H=%H/*.gz",
    "%Y/%m/%d/%H%M*.gz",
    "{a}-{b}*/%Y-%-m-%-d-{c}-%-H.gz",
    "*{a}1*/%Y%m%d*{b}0{c}",
    "x*%Y*%m*%d*",
    "{a}{b}/{c}%Y-%-m/%-d",
    "%d.%m.%Y/*-{x}-*.gz",
];

/// Text of the characters that layouts are made of, so that wrong keys come close.
fn nearly() -> impl Strategy<Value = String> {
    "[0-2a/1é._-]{1,12}"
}

fn a_time() -> impl Strategy<Value = Instant> {
    (0_i64..4_102_444_800).prop_map(Instant::from_secs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn agrees_with_a_regex(
        which in 0..LAYOUTS.len(),
        time in a_time(),
        captures in prop::collection::vec("[a1é-]{1,3}", 3),
        free in "[a0-]{1,4}",
        other in nearly(),
        spoil in prop::option::of((any::<prop::sample::Index>(), "[0-2a/é._-]")),
    ) {
        let text = LAYOUTS[which];
        let layout = layout(text);
        let captures: Vec<&str> = captures.iter().take(layout.captures.len()).map(String::as_str).collect();
        // A key of the layout where one exists, else anything; half of the time with a character put in.
        let mut key = layout.format_key(&captures, time, &free).unwrap_or(other);
        if let Some((place, character)) = spoil {
            let places: Vec<usize> = key.char_indices().map(|(at, _)| at).collect();
            key.insert_str(places[place.index(places.len())], &character);
        }
        let found = layout.match_key(&key).map(|matched| {
            let both = matched.path_captures.into_iter().chain(matched.row_captures);
            (both.map(str::to_owned).collect::<Vec<_>>(), matched.at)
        });
        let naive = naive_match(text, &key);
        // Only a regex gives up when its first way leads to a day that does not exist.
        prop_assert!(found == naive || naive.is_none() && found.is_some(), "{text} on {key}: {found:?}, {naive:?}");
    }

    #[test]
    fn what_is_written_is_read_back(
        which in 0..LAYOUTS.len(),
        time in a_time(),
        captures in prop::collection::vec("[a-z]{1,5}", 3),
        free in "[a-z]{1,4}",
    ) {
        let layout = layout(LAYOUTS[which]);
        let captures: Vec<&str> = captures.iter().take(layout.captures.len()).map(String::as_str).collect();
        if let Ok(key) = layout.format_key(&captures, time, &free) {
            let matched = layout.match_key(&key).unwrap();
            let finest = layout.finest.seconds();
            prop_assert_eq!(matched.at.as_secs(), time.as_secs().div_euclid(finest) * finest);
            prop_assert_eq!([matched.path_captures, matched.row_captures].concat(), captures);
        }
    }

    #[test]
    fn folders_of_wanted_files_are_never_pruned(
        which in 0..LAYOUTS.len(),
        time in a_time(),
        from in a_time(),
        free in "[a-z]{1,4}",
    ) {
        let layout = layout(LAYOUTS[which]);
        let captures = ["k", "l", "m"];
        let captures = &captures[..layout.captures.len()];
        let Ok(key) = layout.format_key(captures, time, &free) else { return Ok(()) };
        let wanted = layout.match_key(&key).unwrap().at >= from;
        let range = |_: Option<&str>| TimeRange { from, ..TimeRange::ALL };
        let slashes: Vec<usize> = key.match_indices('/').map(|(at, _)| at).collect();
        let mut cutoff = Some(from);
        for (depth, &slash) in slashes.iter().enumerate() {
            let folder = &key[..slash];
            match layout.match_folder(folder, depth + 1, &range) {
                FolderMatch::Never => prop_assert!(false, "{folder} of {key} never matches"),
                FolderMatch::OutOfRange => {
                    prop_assert!(!wanted, "{folder} of {key} from {from}");
                    return Ok(());
                }
                FolderMatch::Wanted { whole, cutoff: begins } => {
                    prop_assert!(wanted || !whole, "{folder} of {key} from {from}");
                    cutoff = begins;
                }
            }
        }
        if wanted && let Some(floor) = cutoff.and_then(|cutoff| layout.names_from(cutoff)) {
            let name = key.rsplit('/').next().unwrap();
            prop_assert!(name > floor.as_str(), "{name} is before {floor}");
        }
    }
}
