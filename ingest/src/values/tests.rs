//! What fits each type, and what it becomes: the sentences of the contract, one by one.

use datafusion::arrow::array::{Array, AsArray, ListArray};
use datafusion::arrow::datatypes::TimestampMillisecondType;
use proptest::prelude::*;

use super::*;
use crate::source::{TimeUnit, Zone};

fn texts<'a>(raws: &[Raw<'a>]) -> Vec<Result<Option<String>, Misfit>> {
    let mut scratch = Vec::new();
    raws.iter().map(|raw| text(*raw, &mut scratch).map(|text| text.map(str::to_owned))).collect()
}

#[test]
fn strings_take_anything_as_written() {
    let raws = [
        Raw::Text(b"a"),
        Raw::Text(b""),
        Raw::Escaped(br#"\u00e9\ud83d\ude00\n\/"#),
        Raw::Doubled(b"say \"\"hi\"\"", b'"'),
        Raw::Number(b"1.50"),
        Raw::Bool(b"true"),
        Raw::Container(br#"{"a": [1, "x"]}"#),
        Raw::Text(b"a\0b"),
    ];
    let expected = ["a", "", "é😀\n/", "say \"hi\"", "1.50", "true", r#"{"a": [1, "x"]}"#, "a\0b"];
    assert_eq!(texts(&raws), expected.map(|text| Ok(Some(text.to_owned()))));
    assert_eq!(texts(&[Raw::Null, Raw::Absent]), [Ok(None), Ok(None)]);
    let bad =
        [Raw::Text(b"a\xff"), Raw::Escaped(br"\ud800"), Raw::Escaped(br"\udc00\ud800"), Raw::Container(b"[\"\xff\"]")];
    assert_eq!(texts(&bad), [Err(Misfit), Err(Misfit), Err(Misfit), Err(Misfit)]);
    assert_eq!(texts(&[Raw::Escaped(br"\ud800\u0041"), Raw::Escaped(br"\ud800x")]), [Err(Misfit), Err(Misfit)]);
}

#[test]
fn ints_are_whole_numbers_of_64_bits() {
    let int = |raw| int(raw, &mut Vec::new());
    let good: [(&[u8], i64); 14] = [
        (b"0", 0),
        (b"-0", 0),
        (b"42", 42),
        (b"-7", -7),
        (b"1540919166796.0", 1_540_919_166_796),
        (b"1e3", 1_000),
        (b"1.5e1", 15),
        (b"12300e-2", 123),
        (b"9223372036854775807", i64::MAX),
        (b"-9223372036854775808", i64::MIN),
        (b"9.223372036854775807E18", i64::MAX),
        (b"0.000e99999999999", 0),
        (b"10000000000000000000000000000000000000000000000e-45", 10),
        (b"5.0000000000000000000000000000000000000000000000000000000000", 5),
    ];
    for (text, expected) in good {
        assert_eq!(int(Raw::Number(text)), Ok(Some(expected)), "{}", String::from_utf8_lossy(text));
        assert_eq!(int(Raw::Text(text)), Ok(Some(expected)), "{}", String::from_utf8_lossy(text));
    }
    let far = [b"0.", &[b'0'; 2_000_000][..], b"1e2000002"].concat();
    assert_eq!(int(Raw::Number(&far)), Ok(Some(10)));
    for text in ["1.5", "9223372036854775808", "-9223372036854775809", "1e19", "1e999999999999", "1e-1", "0.1"] {
        assert_eq!(int(Raw::Number(text.as_bytes())), Err(Misfit), "{text}");
    }
    for text in ["abc", "1a", "1 2", "0x10", "1e", "--1", ".", "NaN", " ", "1,000", "٣", "true"] {
        assert_eq!(int(Raw::Text(text.as_bytes())), Err(Misfit), "{text}");
    }
    for text in [" 42 ", "+42", "042", "4\t"] {
        assert!(int(Raw::Text(text.as_bytes())).is_ok_and(|number| number.is_some()), "{text}");
    }
    assert_eq!(int(Raw::Text(b"")), Ok(None));
    assert_eq!(int(Raw::Null), Ok(None));
    assert_eq!(int(Raw::Bool(b"true")), Err(Misfit));
    assert_eq!(int(Raw::Container(b"[1]")), Err(Misfit));
    assert_eq!(int(Raw::Text(b"\xff")), Err(Misfit));
}

#[test]
fn floats_are_finite() {
    let float = |raw| float(raw, &mut Vec::new());
    for (text, expected) in
        [("1.5", 1.5), ("-0", -0.0), ("3", 3.0), ("1e-3", 0.001), ("1.7976931348623157e308", f64::MAX)]
    {
        assert_eq!(float(Raw::Number(text.as_bytes())), Ok(Some(expected)));
        assert_eq!(float(Raw::Text(text.as_bytes())), Ok(Some(expected)));
    }
    for text in ["1e999", "-1e999", "NaN", "inf", "Infinity", "1.5x", "1_0", "0x1p3", "e", " "] {
        assert_eq!(float(Raw::Text(text.as_bytes())), Err(Misfit), "{text}");
    }
    assert_eq!(float(Raw::Text(b"")), Ok(None));
    assert_eq!(float(Raw::Bool(b"false")), Err(Misfit));
}

#[test]
fn bools_are_true_or_false() {
    let bool = |raw| bool(raw, &mut Vec::new());
    assert_eq!(bool(Raw::Bool(b"true")), Ok(Some(true)));
    assert_eq!(bool(Raw::Text(b"false")), Ok(Some(false)));
    assert_eq!(bool(Raw::Text(b"True")), Ok(Some(true)));
    assert_eq!(bool(Raw::Text(b"")), Ok(None));
    for raw in [Raw::Text(b"yes"), Raw::Number(b"1"), Raw::Container(b"[true]")] {
        assert_eq!(bool(raw), Err(Misfit));
    }
}

fn millis(unit: &str, zone: &str, text: &str) -> Result<Option<i64>, Misfit> {
    let (unit, zone): (TimeUnit, Zone) = (unit.parse().unwrap(), zone.parse().unwrap());
    TimeReader::new(&unit, &zone).read(Raw::Text(text.as_bytes()), &mut Vec::new())
}

/// Milliseconds of an RFC 3339 instant, by chrono.
fn instant(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

#[test]
fn epochs_take_fractions_and_text_and_are_floored() {
    let good = [
        ("s", "1533118630", 1_533_118_630_000),
        ("s", "1533118630.7569", 1_533_118_630_756),
        ("s", "1.5331186305e9", 1_533_118_630_500),
        ("s", "-0.0001", -1),
        ("ms", "1540919166796.0", 1_540_919_166_796),
        ("ms", "1540919166796.9", 1_540_919_166_796),
        ("ms", "-1.5", -2),
        ("us", "1540919166796999", 1_540_919_166_796),
        ("us", "-1", -1),
        ("us", "1540919166796999.5", 1_540_919_166_796),
        ("s", " 1533118630 ", 1_533_118_630_000),
    ];
    for (unit, text, expected) in good {
        assert_eq!(millis(unit, "UTC", text), Ok(Some(expected)), "{unit} {text}");
    }
    for (unit, text) in [("s", "x"), ("s", "9223372036854775807"), ("ms", "1e300"), ("s", "1533118630s"), ("us", "NaN")]
    {
        assert_eq!(millis(unit, "UTC", text), Err(Misfit), "{unit} {text}");
    }
    assert_eq!(millis("s", "UTC", ""), Ok(None));
    let reader = TimeReader::new(&TimeUnit::Secs, &Zone::UTC);
    assert_eq!(reader.read(Raw::Number(b"15"), &mut Vec::new()), Ok(Some(15_000)));
    assert_eq!(reader.read(Raw::Bool(b"true"), &mut Vec::new()), Err(Misfit));
    assert_eq!(reader.read(Raw::Container(b"{}"), &mut Vec::new()), Err(Misfit));
}

#[test]
fn iso_takes_any_digits_offsets_and_dates_alone() {
    let good = [
        ("2015-09-12T00:46:58.771Z", "2015-09-12T00:46:58.771Z"),
        ("2015-09-12 00:46:58", "2015-09-12T00:46:58Z"),
        ("2015-09-12t00:46:58z", "2015-09-12T00:46:58Z"),
        ("2015-09-12T00:46:58.7719999999Z", "2015-09-12T00:46:58.771Z"),
        ("2015-09-12T00:46:58,5Z", "2015-09-12T00:46:58.500Z"),
        ("2015-09-12T00:46:58+02:00", "2015-09-11T22:46:58Z"),
        ("2015-09-12 00:46:58 +0200", "2015-09-11T22:46:58Z"),
        ("2015-09-12T00:46:58-07", "2015-09-12T07:46:58Z"),
        ("2015-09-12T00:46", "2015-09-12T00:46:00Z"),
        ("2015-09-12", "2015-09-12T00:00:00Z"),
        ("2016-02-29", "2016-02-29T00:00:00Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("0001-01-01", "0001-01-01T00:00:00Z"),
    ];
    for (text, expected) in good {
        assert_eq!(millis("iso", "UTC", text), Ok(Some(instant(expected))), "{text}");
    }
    let bad = [
        "2015-02-29",
        "2015-13-01",
        "2015-00-01",
        "2015-01-00",
        "2015-09-12T24:00:00",
        "2015-09-12T00:60:00",
        "1900-02-29",
        "2015-09-12T00:46:58.Z",
        "2015-09-12T00:46:58+2",
        "2015-09-12T",
        "2015-09-12x",
        "15-09-12",
        "2015-9-12",
        "now",
        "2015-09-12T00:46:58ZZ",
        "2015-09-12T00:46:61",
        "20150912",
        "2015-09-12T0:46:58",
        "0000-01-01",
        "2015-09-12T00:46:5é",
    ];
    for text in bad {
        assert_eq!(millis("iso", "UTC", text), Err(Misfit), "{text}");
    }
}

#[test]
fn zones_count_for_text_without_an_offset() {
    assert_eq!(millis("iso", "+02:00", "2015-09-12T00:46:58"), Ok(Some(instant("2015-09-11T22:46:58Z"))));
    assert_eq!(millis("iso", "+02:00", "2015-09-12T00:46:58Z"), Ok(Some(instant("2015-09-12T00:46:58Z"))));
    assert_eq!(millis("iso", "Europe/Berlin", "2015-01-12"), Ok(Some(instant("2015-01-11T23:00:00Z"))));
    assert_eq!(millis("iso", "Europe/Berlin", "2015-07-12"), Ok(Some(instant("2015-07-11T22:00:00Z"))));
    // Twice in the night when the clocks go back: the first; never in the night when they go forward.
    assert_eq!(millis("iso", "Europe/Berlin", "2015-10-25T02:30:00"), Ok(Some(instant("2015-10-25T00:30:00Z"))));
    assert_eq!(millis("iso", "Europe/Berlin", "2015-03-29T02:30:00"), Err(Misfit));
    assert_eq!(millis("s", "+02:00", "0"), Ok(Some(0)));
}

#[test]
fn strftime_patterns_are_read() {
    let apache = "%d/%b/%Y:%H:%M:%S %z";
    assert_eq!(millis(apache, "UTC", "10/Oct/2000:13:55:36 -0700"), Ok(Some(instant("2000-10-10T20:55:36Z"))));
    assert_eq!(millis("%Y%m%d%H", "UTC", "2018080110"), Ok(Some(instant("2018-08-01T10:00:00Z"))));
    assert_eq!(millis("%Y%m%d", "+01:00", "20180801"), Ok(Some(instant("2018-07-31T23:00:00Z"))));
    assert_eq!(millis("%s", "+01:00", "15"), Ok(Some(15_000)));
    assert_eq!(
        millis("%d.%m.%Y %H:%M:%S%.f", "UTC", "01.08.2018 10:42:34.5678"),
        Ok(Some(instant("2018-08-01T10:42:34.567Z")))
    );
    for (text, expected) in [("7", ".700Z"), ("25", ".250Z"), ("250000", ".250Z"), ("123456789", ".123Z")] {
        let found = millis("%d.%m.%Y %H:%M:%S.%f", "UTC", &format!("01.08.2018 10:42:34.{text}"));
        assert_eq!(found, Ok(Some(instant(&format!("2018-08-01T10:42:34{expected}")))), "{text}");
    }
    assert_eq!(millis("%Y%m%d", "UTC", "20181301"), Err(Misfit));
    assert_eq!(millis(apache, "UTC", "10/Oct/2000:13:55:36 +2359"), Ok(Some(instant("2000-10-10T13:55:36+23:59"))));
    assert_eq!(millis(apache, "UTC", "10/Oct/2000:13:55:36 +2400"), Err(Misfit));
    let number = TimeReader::new(&TimeUnit::Strftime("%Y%m%d".to_owned()), &Zone::UTC);
    assert_eq!(number.read(Raw::Number(b"20180801"), &mut Vec::new()), Ok(Some(instant("2018-08-01T00:00:00Z"))));
}

type Lists = Vec<Option<Vec<Option<String>>>>;

fn list(raws: &[(Raw<'_>, &[Step])]) -> (Lists, Vec<bool>) {
    let mut builder = ColumnBuilder::new(&ColumnKind::ListString, 4);
    let mut scratch = Vec::new();
    let fits = raws.iter().map(|(raw, rest)| builder.append(*raw, rest, &mut scratch).is_ok()).collect();
    let array = builder.finish();
    let lists: &ListArray = array.as_list();
    let items = |items: Arc<dyn Array>| items.as_string_view().iter().map(|item| item.map(str::to_owned)).collect();
    (lists.iter().map(|list| list.map(items)).collect(), fits)
}

#[test]
fn lists_take_arrays_and_single_values() {
    let raws: [(Raw<'_>, &[Step]); 8] = [
        (Raw::Container(br#"["a", 1, true ,null,"b\n", {"x":1}, [2]]"#), &[]),
        (Raw::Text(b"one"), &[]),
        (Raw::Number(b"7"), &[]),
        (Raw::Container(b"[]"), &[]),
        (Raw::Text(b""), &[]),
        (Raw::Null, &[]),
        (Raw::Container(b"[\"ok\",\"\xff\"]"), &[]),
        (Raw::Container(br#"["\ud800"]"#), &[]),
    ];
    let some = |items: &[&str]| Some(items.iter().map(|item| Some((*item).to_owned())).collect::<Vec<_>>());
    let (found, fits) = list(&raws);
    let mut first = some(&["a", "1", "true", "", "b\n", r#"{"x":1}"#, "[2]"]).unwrap();
    first[3] = None;
    assert_eq!(found, [Some(first), some(&["one"]), some(&["7"]), some(&[]), None, None, None, None]);
    assert_eq!(fits, [true, true, true, true, true, true, false, false]);
}

#[test]
fn lists_follow_paths_into_their_elements() {
    let key = |name: &str| Step::Key(name.as_bytes().to_vec());
    let sku = [Step::Each, key("sku")];
    let deep = [Step::Each, key("tags"), Step::Each, key("n")];
    let raws: [(Raw<'_>, &[Step]); 4] = [
        (Raw::Container(br#"[{"sku":"a","x":[{}]},{"s\u006bu":2},{"y":0},5]"#), &sku),
        (Raw::Container(br#"{"sku":"single"}"#), &sku),
        (Raw::Container(br#"[{"tags":[{"n":1},{"n":2}]},{"tags":{"n":3}}]"#), &deep),
        (Raw::Absent, &sku),
    ];
    let (found, fits) = list(&raws);
    let item = |text: &str| Some(text.to_owned());
    let expected = [
        Some(vec![item("a"), item("2"), None, None]),
        Some(vec![item("single")]),
        Some(vec![item("1"), item("2"), item("3")]),
        None,
    ];
    assert_eq!(found, expected);
    assert_eq!(fits, [true; 4]);
}

#[test]
fn a_column_keeps_its_place_where_a_value_does_not_fit() {
    let mut builder = ColumnBuilder::new(&ColumnKind::iso(), 3);
    let mut scratch = Vec::new();
    let raws = [Raw::Text(b"2018-08-01"), Raw::Text(b"?"), Raw::Null];
    let fits: Vec<_> = raws.iter().map(|raw| builder.append(*raw, &[], &mut scratch).is_ok()).collect();
    assert_eq!(fits, [true, false, true]);
    let array = builder.finish();
    let found: Vec<_> = array.as_primitive::<TimestampMillisecondType>().iter().collect();
    assert_eq!(found, [Some(instant("2018-08-01T00:00:00Z")), None, None]);
    assert_eq!(array.data_type(), &ColumnKind::iso().data_type());
}

proptest! {
    #[test]
    fn iso_agrees_with_chrono(secs in -62_135_596_800_i64..253_402_300_799, nanos in 0_u32..1_000_000_000, offset in -1439_i32..1440) {
        let at = chrono::DateTime::from_timestamp(secs, nanos).unwrap();
        let offset = chrono::FixedOffset::east_opt(offset * 60).unwrap();
        let text = at.with_timezone(&offset).to_rfc3339();
        prop_assume!(text.starts_with(|c: char| c.is_ascii_digit()) && text.as_bytes()[4] == b'-');
        prop_assert_eq!(millis("iso", "UTC", &text), Ok(Some(at.timestamp_millis())));
    }

    #[test]
    fn plain_digits_are_read_as_the_library_reads_them(mut text in "-?[0-9]{1,22}", at: prop::sample::Index, byte: u8, replace: bool) {
        prop_assert_eq!(int(Raw::Number(text.as_bytes()), &mut Vec::new()).ok().flatten(), text.parse().ok());
        if replace {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
        let plain = text.strip_prefix('-').unwrap_or(&text);
        let few = (1..=18).contains(&plain.len()) && plain.bytes().all(|byte| byte.is_ascii_digit());
        prop_assert_eq!(number::small_int(text.as_bytes()), few.then(|| text.parse().unwrap()));
    }

    #[test]
    fn a_text_is_what_the_library_takes_for_one(bytes in prop::collection::vec(prop_oneof![9 => 0_u8..0x80, 1 => any::<u8>()], 0..40)) {
        prop_assert_eq!(utf8(&bytes), std::str::from_utf8(&bytes).ok());
    }

    #[test]
    fn ints_agree_with_exact_arithmetic(mantissa in -1_000_000_000_000_i64..1_000_000_000_000, exponent in -14_i32..8) {
        let text = format!("{mantissa}e{exponent}");
        let power = 10_i128.pow(exponent.unsigned_abs());
        let exact = match exponent >= 0 {
            true => Some(i128::from(mantissa) * power),
            false if i128::from(mantissa) % power == 0 => Some(i128::from(mantissa) / power),
            false => None,
        };
        let expected = exact.and_then(|number| i64::try_from(number).ok());
        prop_assert_eq!(int(Raw::Number(text.as_bytes()), &mut Vec::new()).ok().flatten(), expected);
        let floored = millis("ms", "UTC", &text).ok().flatten();
        let range = -62_135_596_800_000_i128..=253_402_300_799_999;
        let whole = match exponent >= 0 {
            true => i128::from(mantissa) * power,
            false => i128::from(mantissa).div_euclid(power),
        };
        prop_assert_eq!(floored.map(i128::from), range.contains(&whole).then_some(whole));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let mut scratch = Vec::new();
        for kind in [ColumnKind::Int, ColumnKind::Float, ColumnKind::Bool, ColumnKind::iso(), ColumnKind::timestamp(TimeUnit::Secs)] {
            let _ = ColumnBuilder::new(&kind, 1).append(Raw::Text(text.as_bytes()), &[], &mut scratch);
        }
    }
}

/// What fuzzing kept, by what others make of it.
#[test]
fn what_fuzzing_kept_is_read_as_others_read_it() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/values");
    let (mut scratch, mut instants, mut numbers) = (Vec::new(), 0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let shown = String::from_utf8_lossy(&bytes);
        assert_eq!(utf8(&bytes), std::str::from_utf8(&bytes).ok());
        let int = int(Raw::Text(&bytes), &mut scratch).ok().flatten();
        let float = float(Raw::Text(&bytes), &mut scratch).ok().flatten();
        if let Ok(number) = shown.parse::<i64>() {
            assert_eq!(int, Some(number), "{shown}");
            numbers += 1;
        }
        if let Ok(number) = serde_json::from_str::<f64>(&shown) {
            // serde_json is not exact to the last bit; the target asks it to be.
            assert!(float.is_some_and(|float| (float - number).abs() <= number.abs() * 1e-15), "{shown}");
        }
        if let Ok(at) = chrono::DateTime::parse_from_rfc3339(&shown) {
            assert_eq!(millis("iso", "Europe/Berlin", &shown), Ok(Some(at.timestamp_millis())), "{shown}");
            instants += 1;
        }
        for unit in ["s", "ms", "us", "%d/%b/%Y:%H:%M:%S %z", "%Y%m%d", "%Y%m%d%H%M", "%A, %d %B %y %I:%M:%S %p %z"] {
            let read = TimeReader::new(&unit.parse().unwrap(), &Zone::UTC).read(Raw::Text(&bytes), &mut scratch);
            assert!(read != Ok(None) || bytes.is_empty(), "{unit} of {shown}");
        }
    }
    assert!(numbers > 5 && instants > 5);
}

#[test]
fn lists_that_fuzzing_kept_hold_what_serde_json_reads() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/json_values");
    let mut lists = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let data = std::fs::read(file.unwrap().path()).unwrap();
        for line in data[1..].split(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
            let Some(items) = line.get("l").and_then(serde_json::Value::as_array) else { continue };
            let (found, fits) = list(&[(Raw::Container(line["l"].to_string().as_bytes()), &[])]);
            let text = |item: &serde_json::Value| match item {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            assert_eq!((found, fits), (vec![Some(items.iter().map(text).collect())], vec![true]), "{line}");
            lists += 1;
        }
    }
    assert!(lists > 3);
}
