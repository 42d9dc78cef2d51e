//! A gzip file of one member, against zlib-rs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neartime_fuzz::inflate::{Inflated, file, zlib};

fuzz_target!(|data: &[u8]| {
    let [piece, room, data @ ..] = data else { return };
    let ours = file(data, usize::from(*piece) * 16 + 1, usize::from(*room) * 16 + 1);
    match zlib(flate2::Decompress::new_gzip(15), data) {
        Inflated::Whole(theirs, end) if end == data.len() => assert_eq!(ours, Some(theirs)),
        // What comes behind a member is for us alone to judge: padding is fine, and so is another member.
        Inflated::Whole(..) => {}
        Inflated::Cut | Inflated::Broken => assert_eq!(ours, None),
    }
});
