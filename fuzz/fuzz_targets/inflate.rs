//! A deflate stream in pieces of any size, against zlib-rs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neartime_fuzz::inflate::{Inflated, stream, zlib};

fuzz_target!(|data: &[u8]| {
    let [piece, room, data @ ..] = data else { return };
    // Few of the sizes are tiny: most of the work is done far from the ends of the pieces.
    let size = |byte: u8| if byte & 3 == 0 { usize::from(byte >> 2) + 1 } else { usize::from(byte) << 8 };
    let ours = stream(data, size(*piece), size(*room));
    let theirs = zlib(flate2::Decompress::new(false), data);
    match (&ours, &theirs) {
        // Where the bits at hand are no code whatever comes, one may say so and the other wait for more.
        (Inflated::Cut, Inflated::Broken) | (Inflated::Broken, Inflated::Cut) => {}
        _ => assert_eq!(ours, theirs),
    }
});
