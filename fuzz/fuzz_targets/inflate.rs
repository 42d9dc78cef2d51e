//! A deflate stream in pieces of any size, against zlib-rs: first the input as a stream, then, if it is not whole, one that
//! is made of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neartime_fuzz::inflate::{Inflated, stream, zlib};

/// Whether the stream is whole.
fn check(data: &[u8], piece: usize, room: usize) -> bool {
    let ours = stream(data, piece, room);
    let theirs = zlib(flate2::Decompress::new(false), data);
    match (&ours, &theirs) {
        // Where the bits at hand are no code whatever comes, one may say so and the other wait for more.
        (Inflated::Cut, Inflated::Broken) | (Inflated::Broken, Inflated::Cut) => {}
        _ => assert_eq!(ours, theirs, "{piece} {room}"),
    }
    matches!(theirs, Inflated::Whole(..))
}

/// Text with matches near and far: bytes stand for themselves, or for what stood before.
fn unfolded(data: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    let mut rest = data;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (0xf0.., [far, near, behind @ ..]) if !text.is_empty() && text.len() < 50_000 => {
                let distance = (usize::from(*far) << 8 | usize::from(*near)) % text.len().min(32_768) + 1;
                for _ in 0..usize::from(first & 15) * 20 + 3 {
                    text.push(text[text.len() - distance]);
                }
                rest = behind;
            }
            _ => text.push(*first),
        }
    }
    text
}

fn deflated(text: &[u8], level: u32) -> Vec<u8> {
    let mut stream = Vec::with_capacity(text.len() + text.len() / 8 + 1_000);
    let mut deflate = flate2::Compress::new(flate2::Compression::new(level), false);
    // In two blocks of different codes.
    let (first, second) = text.split_at(text.len() / 3);
    deflate.compress_vec(first, &mut stream, flate2::FlushCompress::Full).expect("there is room");
    deflate.compress_vec(second, &mut stream, flate2::FlushCompress::Finish).expect("there is room");
    stream
}

fuzz_target!(|data: &[u8]| {
    let [piece, room, data @ ..] = data else { return };
    // Few of the sizes are tiny: most of the work is done far from the ends of the pieces.
    let size = |byte: u8| if byte & 3 == 0 { usize::from(byte >> 2) + 1 } else { usize::from(byte) << 8 };
    let (piece, room) = (size(*piece), size(*room));
    if check(data, piece, room) {
        return;
    }
    let [how, at, data @ ..] = data else { return };
    let text = unfolded(data);
    let mut made = deflated(&text, u32::from(how & 15) % 10);
    let end = made.len();
    assert_eq!(stream(&made, piece, room), Inflated::Whole(text, end), "{piece} {room}");
    if how & 0x80 != 0 {
        let spoilt = (usize::from(*at) * 7) % made.len();
        made[spoilt] ^= 1 << (how >> 4 & 7);
        check(&made, piece, room);
    }
});
