//! Tables that decode Huffman codes: one lookup gives a symbol with its base value and all bits it takes, or up to two
//! literals and the length behind them at once.
//!
//! A table is looked up by the next bits of the stream. Codes longer than its root have a table of their own behind
//! it. An entry is 64 bits:
//!
//! | bits | hold |
//! |---|---|
//! | 0 to 5 | bits to pass, extra bits included |
//! | 8 to 9 | how many literals, 0 to 2 |
//! | 12 to 15 | [`VALUE`], [`SPECIAL`], [`LONGER`], [`END`] |
//! | 16 to 31 | the literals, the first one lowest |
//! | 32 to 47 | a length or distance without its extra bits; where a longer table begins |
//! | 48 to 53 | where the extra bits begin; bits that a longer table is looked up by |
//! | 56 to 61 | bits of the literals alone |

/// There is a length or distance, behind the literals.
pub(super) const VALUE: u64 = 1 << 15;
/// Neither literals nor a length or distance. Alone: no code.
pub(super) const SPECIAL: u64 = 1 << 14;
/// With [`SPECIAL`]: the code goes on in another table.
pub(super) const LONGER: u64 = 1 << 13;
/// With [`SPECIAL`]: the end of the block.
pub(super) const END: u64 = 1 << 12;

/// How many bits an entry passes.
#[inline(always)]
pub(super) fn passed(entry: u64) -> u32 {
    (entry & 0x3f) as u32
}

/// How many literals an entry has.
#[inline(always)]
pub(super) fn literals(entry: u64) -> usize {
    (entry >> 8 & 3) as usize
}

/// A length or distance without its extra bits, or where a longer table begins.
#[inline(always)]
pub(super) fn base(entry: u64) -> usize {
    (entry >> 32 & 0xffff) as usize
}

/// A length or distance: `bits` are those that its entry was looked up by.
#[inline(always)]
pub(super) fn value(entry: u64, bits: u64) -> usize {
    base(entry) + ((bits & ((1_u64 << (entry & 0x3f)) - 1)) >> (entry >> 48 & 0x3f)) as usize
}

/// The entry of a longer table that `bits`, those behind the root's, lead to.
#[inline(always)]
pub(super) fn longer_index(entry: u64, bits: u64) -> usize {
    base(entry) + (bits & ((1 << (entry >> 48 & 0x3f)) - 1)) as usize
}

/// Bits of the literals alone.
pub(super) fn literal_bits(entry: u64) -> u32 {
    (entry >> 56) as u32
}

/// Bits that the table of literals and lengths is looked up by.
pub(super) const LITERAL_BITS: u32 = 11;
/// Bits that the table of distances is looked up by.
pub(super) const DISTANCE_BITS: u32 = 9;
/// Bits that the table of code lengths is looked up by: its codes are no longer.
pub(super) const LENGTHS_BITS: u32 = 7;

/// Room of the tables, longer ones included; a power of two, so that a masked index needs no check. At most 2,342 and
/// 594 entries are used (zlib's `enough` tells).
pub(super) const LITERAL_ENTRIES: usize = 4096;
pub(super) const DISTANCE_ENTRIES: usize = 1024;

const MAX_BITS: usize = 15;
/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;

/// The lengths are those of no prefix code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoCode;

/// The three alphabets of deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    Literals,
    Distances,
    Lengths,
}

/// Length symbols from 257 on: base and extra bits (RFC 1951, 3.2.5).
const LENGTHS: [(u32, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// The entry of `symbol`, whose code has `bits` bits.
fn entry(alphabet: Alphabet, symbol: usize, bits: u32) -> u64 {
    let bits = u64::from(bits);
    let value = |base: u32, extra: u32| VALUE | bits << 48 | u64::from(base) << 32 | (bits + u64::from(extra));
    let number = u32::try_from(symbol).expect("at most 288 symbols");
    match alphabet {
        Alphabet::Lengths => value(number, 0),
        Alphabet::Literals => match symbol {
            0..=255 => bits << 56 | u64::from(number) << 16 | 1 << 8 | bits,
            END_OF_BLOCK => SPECIAL | END | bits,
            _ => LENGTHS.get(symbol - 257).map_or(SPECIAL | bits, |(base, extra)| value(*base, *extra)),
        },
        // Two symbols for each number of extra bits (RFC 1951, 3.2.5).
        Alphabet::Distances => match number {
            0..4 => value(number + 1, 0),
            4..30 => {
                let extra = number / 2 - 1;
                value(1 + ((2 + number % 2) << extra), extra)
            }
            _ => SPECIAL | bits,
        },
    }
}

/// Fills `table`, whose root is looked up by `root` bits, for the code whose symbols have codes of these lengths.
///
/// What zlib refuses is refused: more codes than there is room for, and less, unless it is a single code of one bit
/// (of literals or distances) or none at all.
pub(super) fn build(alphabet: Alphabet, lengths: &[u8], root: u32, table: &mut [u64]) -> Result<(), NoCode> {
    let mut counts = [0_u16; MAX_BITS + 1];
    lengths.iter().for_each(|length| counts[usize::from(*length)] += 1);
    counts[0] = 0;
    let longest = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
    let mut room = 1_i32;
    for count in &counts[1..] {
        room = room * 2 - i32::from(*count);
        if room < 0 {
            return Err(NoCode);
        }
    }
    if room > 0 {
        if longest > 1 || (alphabet == Alphabet::Lengths) {
            return Err(NoCode);
        }
        table[..1 << root].fill(SPECIAL | 1);
    }
    let sorted = sorted(lengths, &counts);
    let mut symbols = sorted[..counts.iter().map(|count| usize::from(*count)).sum()].iter().map(|at| usize::from(*at));
    let mut code = fill_root(alphabet, &counts, root, table, &mut symbols);
    fill_longer(alphabet, &counts, root, table, &mut symbols, &mut code)?;
    if alphabet == Alphabet::Literals {
        join_literals(&mut table[..1 << root], root);
    }
    Ok(())
}

/// The symbols by the lengths of their codes.
fn sorted(lengths: &[u8], counts: &[u16; MAX_BITS + 1]) -> [u16; 320] {
    let (mut starts, mut sorted) = ([0_u16; MAX_BITS + 2], [0; 320]);
    for bits in 1..=MAX_BITS {
        starts[bits + 1] = starts[bits] + counts[bits];
    }
    for (symbol, length) in (0_u16..).zip(lengths) {
        if *length > 0 {
            let start = &mut starts[usize::from(*length)];
            sorted[usize::from(*start)] = symbol;
            *start += 1;
        }
    }
    sorted
}

/// Fills in the codes that the root holds whole; the next code comes back. Codes are kept with their first bit lowest,
/// as they are looked up.
fn fill_root(
    alphabet: Alphabet,
    counts: &[u16; MAX_BITS + 1],
    root: u32,
    table: &mut [u64],
    symbols: &mut impl Iterator<Item = usize>,
) -> usize {
    let incomplete = counts.iter().sum::<u16>() <= 1;
    let (mut code, mut filled) = (0, 1);
    for bits in 1..=root {
        // So far each entry stands for all that begin alike: with one bit more there are two of each.
        if !incomplete {
            table.copy_within(..filled, filled);
        }
        filled *= 2;
        for symbol in symbols.by_ref().take(usize::from(counts[bits as usize])) {
            let entry = entry(alphabet, symbol, bits);
            if incomplete {
                table[code..1 << root].iter_mut().step_by(filled).for_each(|slot| *slot = entry);
            } else {
                table[code] = entry;
            }
            code = following(code, bits);
        }
    }
    code
}

/// Fills in the longer codes, in a table for each beginning that they share.
fn fill_longer(
    alphabet: Alphabet,
    counts: &[u16; MAX_BITS + 1],
    root: u32,
    table: &mut [u64],
    symbols: &mut impl Iterator<Item = usize>,
    code: &mut usize,
) -> Result<(), NoCode> {
    let mask = (1 << root) - 1;
    let (mut next, mut begin, mut index_bits, mut prefix) = (1_usize << root, 0, 0, usize::MAX);
    for bits in root + 1..=MAX_BITS as u32 {
        let mut left = counts[bits as usize];
        while left > 0 {
            if *code & mask != prefix {
                prefix = *code & mask;
                index_bits = bits - root;
                // As many bits as the codes that are left can fill.
                let mut room = (1_i32 << index_bits) - i32::from(left);
                while room > 0 && root + index_bits < MAX_BITS as u32 {
                    index_bits += 1;
                    room = room * 2 - i32::from(counts[(root + index_bits) as usize]);
                }
                begin = next;
                next += 1 << index_bits;
                if next > table.len() {
                    return Err(NoCode);
                }
                table[prefix] = SPECIAL | LONGER | u64::from(index_bits) << 48 | (begin as u64) << 32 | u64::from(root);
            }
            let symbol = symbols.next().expect("as many as were counted");
            let entry = entry(alphabet, symbol, bits - root);
            let slots = &mut table[begin..begin + (1 << index_bits)];
            slots[*code >> root..].iter_mut().step_by(1 << (bits - root)).for_each(|slot| *slot = entry);
            *code = following(*code, bits);
            left -= 1;
        }
    }
    Ok(())
}

/// The code of `bits` bits behind `code`, both with their first bit lowest.
fn following(code: usize, bits: u32) -> usize {
    let mut bit = 1 << (bits - 1);
    while code & bit != 0 {
        bit >>= 1;
    }
    if bit == 0 { 0 } else { (code & (bit - 1)) | bit }
}

/// Where the bits behind a literal hold a second one whole, makes the entry stand for both; a length behind them too.
/// From the last entry on: what stands behind a literal is looked up among those that come later here.
fn join_literals(root: &mut [u64], bits: u32) {
    for at in (0..root.len()).rev() {
        let mut joined = root[at];
        if joined & (VALUE | SPECIAL) != 0 {
            continue;
        }
        let mut taken = passed(joined);
        let mut next = root[at >> taken];
        if next & (VALUE | SPECIAL) == 0 && taken + passed(next) <= bits {
            taken += passed(next);
            let literals = joined & 0xff_0000 | (next & 0xff_0000) << 8;
            joined = u64::from(taken) << 56 | literals | 2 << 8 | u64::from(taken);
            next = root[at >> taken];
        }
        let code = (next >> 48 & 0x3f) as u32;
        if next & VALUE != 0 && taken + code <= bits {
            // Its own bits, and where its extra bits begin, come behind the literals'.
            joined |= VALUE | next & 0xffff << 32 | u64::from(taken + code) << 48;
            joined += u64::from(passed(next));
        }
        root[at] = joined;
    }
}
