//! The hot loop: symbols are decoded without looking whether input or output end, as long as both are far.

use super::deflate::Window;
use super::huffman::{
    DISTANCE_BITS, DISTANCE_ENTRIES, END, LITERAL_BITS, LITERAL_ENTRIES, LONGER, SPECIAL, VALUE, literals,
    longer_index, passed, value,
};

/// Input that one turn of the loop may look at: two refills of eight bytes.
const TURN_INPUT: usize = 16;
/// Input with which the loop is worth entering: at least one turn, and a refill before it.
pub(super) const INPUT_MARGIN: usize = TURN_INPUT + 8;
/// Output that one turn may write: four pairs of literals, a match of 258 bytes, and what a copy writes too much.
pub(super) const OUTPUT_MARGIN: usize = 328;

/// Bits of a distance, and those by which the next entry is looked up.
const MATCH_BITS: u32 = 28 + LITERAL_BITS;

/// The tables of a block.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) literals: Box<[u64; LITERAL_ENTRIES]>,
    pub(super) distances: Box<[u64; DISTANCE_ENTRIES]>,
}

/// Bits that have been taken from the input and not yet used, the next one lowest. Bits above `count` are 0, but inside
/// the hot loop, where they are those that come next in the input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bits {
    pub(super) bits: u64,
    pub(super) count: u32,
}

/// Why the loop stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The end of the input or the output is near.
    Margin,
    /// The block has ended.
    EndOfBlock,
    /// The next bits are no code.
    NoCode,
    /// A match begins before the first byte.
    TooFarBack,
}

/// Where the loop stands.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) bits: Bits,
    /// Bytes of the input that were taken.
    pub(super) consumed: usize,
    /// Bytes of the output that were written.
    pub(super) produced: usize,
}

/// Decodes symbols of a block until the end of one of the slices is near, with the instructions that this machine has.
pub(super) fn decode(
    tables: &Tables,
    window: &Window,
    input: &[u8],
    output: &mut [u8],
    position: &mut Position,
) -> Stop {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("bmi2") && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the features are there.
        return unsafe { decode_avx2(tables, window, input, output, position) };
    }
    decode_with(tables, window, input, output, position)
}

/// The same with shifts that need no fixed register, and copies of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi2,avx2")]
fn decode_avx2(tables: &Tables, window: &Window, input: &[u8], output: &mut [u8], position: &mut Position) -> Stop {
    decode_with(tables, window, input, output, position)
}

#[inline(always)]
fn decode_with(tables: &Tables, window: &Window, input: &[u8], output: &mut [u8], position: &mut Position) -> Stop {
    let Bits { mut bits, mut count } = position.bits;
    let (mut at, mut out) = (position.consumed, position.produced);
    let first = at;
    macro_rules! refill {
        () => {{
            // SAFETY: 8 bytes more than TURN_INPUT are left from `at` on before the first turn, and TURN_INPUT at the top of
            // each, which refills twice by at most 8 bytes.
            let next = unsafe { input.as_ptr().add(at).cast::<u64>().read_unaligned() };
            bits |= u64::from_le(next) << count;
            at += ((63 - count) >> 3) as usize;
            count |= 56;
        }};
    }
    macro_rules! pass {
        ($entry:expr) => {{
            bits = bits.wrapping_shr($entry as u32);
            count -= passed($entry);
        }};
    }
    macro_rules! look_up {
        () => {
            tables.literals[bits as usize & ((1 << LITERAL_BITS) - 1)]
        };
    }
    macro_rules! write_literals {
        ($entry:expr) => {{
            // SAFETY: at the top of a turn OUTPUT_MARGIN bytes are left from `out` on; a turn writes at most 8 bytes
            // of literals before its match. What counts of them is what the entry says: 2, 1 or none.
            unsafe { output.as_mut_ptr().add(out).cast::<u16>().write_unaligned((($entry >> 16) as u16).to_le()) };
            out += literals($entry);
        }};
    }
    if input.len() - at < INPUT_MARGIN {
        return Stop::Margin;
    }
    refill!();
    // Each turn ends by looking up the entry that the next one begins with: its refill need not be waited for.
    let mut entry = look_up!();
    let stop = loop {
        if input.len() - at < TURN_INPUT || output.len() - out < OUTPUT_MARGIN {
            break Stop::Margin;
        }
        refill!();
        write_literals!(entry);
        if entry & (VALUE | SPECIAL) == 0 {
            pass!(entry);
            entry = look_up!();
            write_literals!(entry);
            if entry & (VALUE | SPECIAL) == 0 {
                pass!(entry);
                entry = look_up!();
                write_literals!(entry);
                if entry & (VALUE | SPECIAL) == 0 {
                    // 33 of at least 56 bits are used.
                    pass!(entry);
                    entry = look_up!();
                    continue;
                }
            }
        }
        if entry & SPECIAL != 0 {
            if entry & LONGER != 0 {
                pass!(entry);
                entry = tables.literals[longer_index(entry, bits) & (LITERAL_ENTRIES - 1)];
                write_literals!(entry);
                if entry & (VALUE | SPECIAL) == 0 {
                    pass!(entry);
                    entry = look_up!();
                    continue;
                }
            }
            if entry & SPECIAL != 0 {
                if entry & END == 0 {
                    break Stop::NoCode;
                }
                pass!(entry);
                break Stop::EndOfBlock;
            }
        }
        // 22 bits of literals and 20 of a length at most: of 56 there are 14 left.
        let length = value(entry, bits);
        pass!(entry);
        if count < MATCH_BITS {
            refill!();
        }
        let mut place = tables.distances[bits as usize & ((1 << DISTANCE_BITS) - 1)];
        if place & SPECIAL != 0 {
            if place & LONGER == 0 {
                break Stop::NoCode;
            }
            pass!(place);
            place = tables.distances[longer_index(place, bits) & (DISTANCE_ENTRIES - 1)];
            if place & SPECIAL != 0 {
                break Stop::NoCode;
            }
        }
        let distance = value(place, bits);
        pass!(place);
        entry = look_up!();
        if distance > out {
            if distance - out > window.len() {
                break Stop::TooFarBack;
            }
            window.copy_match(output, out, distance, length);
        } else {
            // SAFETY: `distance` is at least 1 and at most `out`; OUTPUT_MARGIN bytes were left from `out` on at the
            // top of the turn, of which the literals took at most 8.
            unsafe { copy_match(output.as_mut_ptr().add(out), distance, length) };
        }
        out += length;
    };
    // Whole bytes go back, so that whoever goes on knows where the block ends.
    let back = (count as usize / 8).min(at - first);
    count -= 8 * back as u32;
    position.bits = Bits { bits: bits & ((1 << count) - 1), count };
    position.consumed = at - back;
    position.produced = out;
    stop
}

/// What is copied at once.
type Piece = [u8; 32];

/// Copies `length` bytes (3 to 258) from `distance` bytes before `to`, which they may run into; perhaps more bytes
/// behind them are overwritten.
///
/// # Safety
/// The `distance` bytes before `to` and the 320 bytes from `to` on must be of one buffer.
#[inline(always)]
unsafe fn copy_match(to: *mut u8, distance: usize, length: usize) {
    // SAFETY: for all of it, what the caller promises: copies end at most 320 bytes behind `to`.
    unsafe {
        let from = to.sub(distance);
        if distance >= 32 {
            // Most matches are done with the first 64 bytes, without asking how long they are.
            let mut at = 0;
            loop {
                to.add(at).cast::<Piece>().write_unaligned(from.add(at).cast::<Piece>().read_unaligned());
                to.add(at + 32).cast::<Piece>().write_unaligned(from.add(at + 32).cast::<Piece>().read_unaligned());
                at += 64;
                if at >= length {
                    break;
                }
            }
        } else if distance >= 8 {
            let mut at = 0;
            while at < length {
                to.add(at).cast::<u64>().write_unaligned(from.add(at).cast::<u64>().read_unaligned());
                at += 8;
            }
        } else if distance == 1 {
            to.write_bytes(*from, length);
        } else {
            for at in 0..length {
                *to.add(at) = *from.add(at);
            }
        }
    }
}
