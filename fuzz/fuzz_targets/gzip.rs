//! Gzip files, against zlib-rs: first the input as a file, then, if that is none, a file that
//! is made of it, whole and damaged.

#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use neartime_fuzz::inflate::{Inflated, file, zlib};

/// What a file is by the rule: members one after another, padded with zeros; `None` if it is anything else.
fn members(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let Inflated::Whole(bytes, end) = zlib(flate2::Decompress::new_gzip(15), data) else { return None };
        all.extend(bytes);
        data = &data[end..];
        data = &data[data.iter().take_while(|byte| **byte == 0).count()..];
        if data.is_empty() {
            return Some(all);
        }
    }
}

/// Whether the file is whole.
fn check(data: &[u8], piece: usize, room: usize) -> bool {
    let expected = members(data);
    assert_eq!(file(data, piece, room), expected, "{piece} {room}");
    expected.is_some()
}

fn member(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder =
        flate2::GzBuilder::new().filename(&b"a name"[..]).write(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(data).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fuzz_target!(|data: &[u8]| {
    let [piece, room, data @ ..] = data else { return };
    let (piece, room) = (usize::from(*piece) * 16 + 1, usize::from(*room) * 16 + 1);
    if check(data, piece, room) {
        return;
    }
    let [how, at, data @ ..] = data else { return };
    let (first, second) = data.split_at(data.len() * usize::from(*at) / 255);
    let mut made = member(first, u32::from(how & 7) + 1);
    made.resize(made.len() + usize::from(how >> 6), 0);
    made.extend(member(second, 1));
    let expected = [first, second].concat();
    assert_eq!(file(&made, piece, room), Some(expected));
    if how & 0x38 != 0 {
        let spoilt = usize::from(*at) % made.len();
        made[spoilt] ^= 1 << (how >> 3 & 7);
        made.truncate(made.len() - usize::from(how >> 5 & 1));
        check(&made, piece, room);
    }
});
