//! Aggregates of the Kinesis Producer Library, against a naive reading of the same message: the input is the message, and
//! its frame is put round it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};
use neartime_fuzz::kinesis::unpacked;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// A field of a message: its number, and what it holds.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..9 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << (7 * at);
        if first < &0x80 {
            return Some(number);
        }
    }
    None
}

/// The fields of a message; `None` where there is anything that an aggregate has no use for.
fn fields(mut bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = varint(&mut bytes)?;
        fields.push(match key & 7 {
            0 => Field::Number(key >> 3, value),
            2 => {
                let (inside, rest) = bytes.split_at_checked(usize::try_from(value).ok()?)?;
                bytes = rest;
                Field::Bytes(key >> 3, inside)
            }
            _ => return None,
        });
    }
    Some(fields)
}

#[derive(Default)]
struct Packed<'a> {
    key: u64,
    explicit: Option<u64>,
    data: &'a [u8],
}

/// The records that belong to `first..=last`, with their numbers.
fn naive(message: &[u8], first: u128, last: u128) -> Option<Vec<(u64, Vec<u8>)>> {
    let (mut keys, mut hashes, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for field in fields(message)? {
        match field {
            Field::Bytes(1, key) => keys.push(str::from_utf8(key).ok()?),
            Field::Bytes(2, hash) => hashes.push(str::from_utf8(hash).ok()?),
            Field::Bytes(3, record) => {
                let mut packed = Packed::default();
                for field in fields(record)? {
                    match field {
                        Field::Number(1, key) => packed.key = key,
                        Field::Number(2, key) => packed.explicit = Some(key),
                        Field::Bytes(3, data) => packed.data = data,
                        _ => return None,
                    }
                }
                records.push(packed);
            }
            _ => return None,
        }
    }
    let at = |texts: &[&str], index: u64| {
        usize::try_from(index).ok().and_then(|at| texts.get(at).map(|text| (*text).to_owned()))
    };
    let belongs = |record: &Packed<'_>| {
        // What tells no hash belongs wherever it is.
        let hash: Option<u128> = match record.explicit.and_then(|index| at(&hashes, index)) {
            Some(explicit) => explicit.parse().ok(),
            None => at(&keys, record.key)
                .map(|key| Md5::digest(key).iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))),
        };
        hash.is_none_or(|hash| (first..=last).contains(&hash))
    };
    Some(
        (0..)
            .zip(&records)
            .filter(|(_, record)| belongs(record))
            .map(|(at, record)| (at, record.data.to_vec()))
            .collect(),
    )
}

fuzz_target!(|message: &[u8]| {
    let framed = [&MAGIC, message, &Md5::digest(message)].concat();
    for (first, last) in [(0, u128::MAX), (0, u128::MAX / 2), (u128::MAX / 2 + 1, u128::MAX)] {
        let found = unpacked(&framed, first, last);
        if let Some(expected) = naive(message, first, last) {
            assert_eq!(found, Some(expected), "{message:?}");
        }
        // Cut, or with another sum, or plain, it is a record like any other.
        for other in [message, &framed[..framed.len() - 1], &framed[1..], &[&framed[..], b"x"].concat()] {
            assert!(unpacked(other, first, last).is_none() || other.starts_with(&MAGIC), "{other:?}");
        }
    }
});
