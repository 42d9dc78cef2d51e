//! Deflate (RFC 1951): one compressed stream, fed and emptied in pieces of any size.
//!
//! Far from the ends of the pieces [`fast`](super::fast) decodes; near them this module does, symbol by symbol, and
//! takes no more of the input than the symbol needs. What zlib refuses is refused here, and nothing else: a fuzz
//! target compares the two.

use super::fast::{self, Bits, INPUT_MARGIN, OUTPUT_MARGIN, Position, Stop, Tables};
use super::huffman::{
    Alphabet, DISTANCE_BITS, DISTANCE_ENTRIES, END, END_OF_BLOCK, LENGTHS_BITS, LITERAL_BITS, LITERAL_ENTRIES, LONGER,
    NoCode, SPECIAL, base, build, literal_bits, literals, longer_index, passed, value,
};
use super::{Corrupt, Progress};

/// How far back a match may begin.
const WINDOW_BYTES: usize = 32 << 10;
/// The order in which the lengths of the code of lengths come (RFC 1951, 3.2.7).
const LENGTHS_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const MAX_LITERALS: usize = 286;
const MAX_DISTANCES: usize = 30;

/// A stream being inflated.
#[derive(Debug)]
pub(super) struct Deflate {
    state: State,
    is_last_block: bool,
    bits: Bits,
    tables: Tables,
    window: Window,
    /// The lengths of codes, as far as they have come.
    lengths: [u8; 320],
    /// The code of lengths.
    lengths_table: [u64; 1 << LENGTHS_BITS],
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Block,
    StoredLength,
    Stored {
        left: usize,
    },
    Counts,
    CodeLengths {
        literals: usize,
        distances: usize,
        of: usize,
        have: usize,
    },
    Lengths {
        literals: usize,
        distances: usize,
        have: usize,
    },
    Codes,
    /// The second of two literals, for which there was no room.
    Literal(u8),
    /// The rest of a match.
    Match {
        length: usize,
        distance: usize,
    },
    End,
}

/// What a symbol says.
enum Symbol {
    Literals(usize, [u8; 2]),
    Match { length: usize, distance: usize },
    EndOfBlock,
}

/// The pieces at hand.
struct Pieces<'a> {
    input: &'a [u8],
    output: &'a mut [u8],
    consumed: usize,
    produced: usize,
}

impl Pieces<'_> {
    fn room(&self) -> usize {
        self.output.len() - self.produced
    }

    fn push(&mut self, byte: u8) {
        self.output[self.produced] = byte;
        self.produced += 1;
    }
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            state: State::Block,
            is_last_block: false,
            bits: Bits::default(),
            tables: Tables { literals: Box::new([0; LITERAL_ENTRIES]), distances: Box::new([0; DISTANCE_ENTRIES]) },
            window: Window::new(),
            lengths: [0; 320],
            lengths_table: [0; 1 << LENGTHS_BITS],
        }
    }

    /// Prepares for another stream.
    pub(super) fn begin(&mut self) {
        self.state = State::Block;
        self.is_last_block = false;
        self.bits = Bits::default();
        self.window.len = 0;
    }

    /// Inflates from `input` into `output`, of which what lies behind the bytes produced may be overwritten. Tells
    /// whether the stream has ended; else it needs more input or more room.
    pub(super) fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<(Progress, bool), Corrupt> {
        let mut pieces = Pieces { input, output, consumed: 0, produced: 0 };
        while self.step(&mut pieces)? {}
        self.window.keep(&pieces.output[..pieces.produced]);
        let progress = Progress { consumed: pieces.consumed, produced: pieces.produced };
        Ok((progress, self.state == State::End))
    }

    /// Goes on by one state; false if there is not enough input or room.
    fn step(&mut self, pieces: &mut Pieces<'_>) -> Result<bool, Corrupt> {
        match self.state {
            State::Block => self.block(pieces),
            State::StoredLength => self.stored_length(pieces),
            State::Stored { left } => Ok(self.stored(pieces, left)),
            State::Counts => self.counts(pieces),
            State::CodeLengths { literals, distances, of, have } => {
                self.code_lengths(pieces, literals, distances, of, have)
            }
            State::Lengths { literals, distances, have } => self.lengths(pieces, literals, distances, have),
            State::Codes => self.codes(pieces),
            State::Literal(byte) => {
                if pieces.room() == 0 {
                    return Ok(false);
                }
                pieces.push(byte);
                self.state = State::Codes;
                Ok(true)
            }
            State::Match { length, distance } => self.copy(pieces, length, distance),
            State::End => Ok(false),
        }
    }

    /// Takes bytes until `count` bits (at most 48) are at hand.
    fn need(&mut self, pieces: &mut Pieces<'_>, count: u32) -> bool {
        while self.bits.count < count {
            let Some(byte) = pieces.input.get(pieces.consumed) else { return false };
            pieces.consumed += 1;
            self.bits.bits |= u64::from(*byte) << self.bits.count;
            self.bits.count += 8;
        }
        true
    }

    /// The next `count` bits, which are at hand.
    fn take(&mut self, count: u32) -> usize {
        let bits = self.bits.bits & ((1 << count) - 1);
        self.bits.bits >>= count;
        self.bits.count -= count;
        usize::try_from(bits).expect("few bits")
    }

    fn block(&mut self, pieces: &mut Pieces<'_>) -> Result<bool, Corrupt> {
        if self.is_last_block {
            self.state = State::End;
            return Ok(true);
        }
        if !self.need(pieces, 3) {
            return Ok(false);
        }
        self.is_last_block = self.take(1) == 1;
        self.state = match self.take(2) {
            0 => {
                // Stored bytes begin at a whole byte.
                self.take(self.bits.count % 8);
                State::StoredLength
            }
            1 => {
                self.fixed_codes();
                State::Codes
            }
            2 => State::Counts,
            _ => return Err(Corrupt::new("a block is of no known type")),
        };
        Ok(true)
    }

    fn stored_length(&mut self, pieces: &mut Pieces<'_>) -> Result<bool, Corrupt> {
        if !self.need(pieces, 32) {
            return Ok(false);
        }
        let (length, check) = (self.take(16), self.take(16));
        if length != !check & 0xffff {
            return Err(Corrupt::new("a stored block contradicts itself about its length"));
        }
        self.state = State::Stored { left: length };
        Ok(true)
    }

    fn stored(&mut self, pieces: &mut Pieces<'_>, left: usize) -> bool {
        // No bits are at hand: a length takes whole bytes, no more than it needs.
        let input = &pieces.input[pieces.consumed..];
        let count = left.min(input.len()).min(pieces.room());
        pieces.output[pieces.produced..pieces.produced + count].copy_from_slice(&input[..count]);
        pieces.consumed += count;
        pieces.produced += count;
        self.state = if count == left { State::Block } else { State::Stored { left: left - count } };
        count == left
    }

    /// The codes that need not be sent (RFC 1951, 3.2.6).
    fn fixed_codes(&mut self) {
        const ALWAYS: &str = "the fixed codes are codes";
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        build(Alphabet::Literals, &lengths, LITERAL_BITS, &mut *self.tables.literals).expect(ALWAYS);
        build(Alphabet::Distances, &[5; 32], DISTANCE_BITS, &mut *self.tables.distances).expect(ALWAYS);
    }

    fn counts(&mut self, pieces: &mut Pieces<'_>) -> Result<bool, Corrupt> {
        if !self.need(pieces, 14) {
            return Ok(false);
        }
        let (literals, distances, of) = (self.take(5) + 257, self.take(5) + 1, self.take(4) + 4);
        if literals > MAX_LITERALS || distances > MAX_DISTANCES {
            return Err(Corrupt::new("a block has too many length or distance symbols"));
        }
        self.lengths = [0; 320];
        self.state = State::CodeLengths { literals, distances, of, have: 0 };
        Ok(true)
    }

    fn code_lengths(
        &mut self,
        pieces: &mut Pieces<'_>,
        literals: usize,
        distances: usize,
        of: usize,
        mut have: usize,
    ) -> Result<bool, Corrupt> {
        while have < of {
            if !self.need(pieces, 3) {
                self.state = State::CodeLengths { literals, distances, of, have };
                return Ok(false);
            }
            self.lengths[LENGTHS_ORDER[have]] = u8::try_from(self.take(3)).expect("three bits");
            have += 1;
        }
        build(Alphabet::Lengths, &self.lengths[..19], LENGTHS_BITS, &mut self.lengths_table)
            .map_err(|NoCode| Corrupt::new("the code lengths of a block are no code"))?;
        self.lengths = [0; 320];
        self.state = State::Lengths { literals, distances, have: 0 };
        Ok(true)
    }

    fn lengths(
        &mut self,
        pieces: &mut Pieces<'_>,
        literals: usize,
        distances: usize,
        mut have: usize,
    ) -> Result<bool, Corrupt> {
        const BAD_REPEAT: &str = "a block repeats a code length that is not there, or too often";
        while have < literals + distances {
            let Some((symbol, extra)) = self.length_symbol(pieces) else {
                self.state = State::Lengths { literals, distances, have };
                return Ok(false);
            };
            let (length, times) = match symbol {
                0..=15 => (u8::try_from(symbol).expect("four bits"), 1),
                16 if have == 0 => return Err(Corrupt::new(BAD_REPEAT)),
                16 => (self.lengths[have - 1], 3 + extra),
                17 => (0, 3 + extra),
                _ => (0, 11 + extra),
            };
            if have + times > literals + distances {
                return Err(Corrupt::new(BAD_REPEAT));
            }
            self.lengths[have..have + times].fill(length);
            have += times;
        }
        if self.lengths[END_OF_BLOCK] == 0 {
            return Err(Corrupt::new("a block has no end"));
        }
        let (of_literals, of_distances) = self.lengths[..literals + distances].split_at(literals);
        build(Alphabet::Literals, of_literals, LITERAL_BITS, &mut *self.tables.literals)
            .map_err(|NoCode| Corrupt::new("the literals and lengths of a block are no code"))?;
        build(Alphabet::Distances, of_distances, DISTANCE_BITS, &mut *self.tables.distances)
            .map_err(|NoCode| Corrupt::new("the distances of a block are no code"))?;
        self.state = State::Codes;
        Ok(true)
    }

    /// The next symbol of the code of lengths and its extra bits, if all of them have come.
    fn length_symbol(&mut self, pieces: &mut Pieces<'_>) -> Option<(usize, usize)> {
        loop {
            let entry = self.lengths_table[self.bits.bits as usize & ((1 << LENGTHS_BITS) - 1)];
            let symbol = base(entry);
            let extra = match symbol {
                0..=15 => 0,
                16 => 2,
                17 => 3,
                _ => 7,
            };
            let code = passed(entry);
            if code + extra <= self.bits.count {
                self.take(code);
                return Some((symbol, self.take(extra)));
            }
            if !self.need(pieces, self.bits.count + 1) {
                return None;
            }
        }
    }

    /// Decodes symbols until the block ends, or the input or room.
    fn codes(&mut self, pieces: &mut Pieces<'_>) -> Result<bool, Corrupt> {
        let is_far = pieces.input.len() - pieces.consumed >= INPUT_MARGIN && pieces.room() >= OUTPUT_MARGIN;
        if is_far {
            let mut position = Position { bits: self.bits, consumed: pieces.consumed, produced: pieces.produced };
            let stop = fast::decode(&self.tables, &self.window, pieces.input, pieces.output, &mut position);
            self.bits = position.bits;
            (pieces.consumed, pieces.produced) = (position.consumed, position.produced);
            match stop {
                Stop::Margin => {}
                Stop::EndOfBlock => self.state = State::Block,
                Stop::NoCode => return Err(no_code()),
                Stop::TooFarBack => return Err(too_far_back()),
            }
            return Ok(true);
        }
        if pieces.room() == 0 {
            return Ok(false);
        }
        let Some(symbol) = self.symbol(pieces)? else { return Ok(false) };
        match symbol {
            Symbol::Literals(count, [first, second]) => {
                pieces.push(first);
                if count == 2 {
                    self.state = State::Literal(second);
                }
            }
            Symbol::Match { length, distance } => {
                if distance > pieces.produced + self.window.len() {
                    return Err(too_far_back());
                }
                self.state = State::Match { length, distance };
            }
            Symbol::EndOfBlock => self.state = State::Block,
        }
        Ok(true)
    }

    /// The next symbol, if all its bits have come: bytes are taken one by one, so that none is taken too many.
    fn symbol(&mut self, pieces: &mut Pieces<'_>) -> Result<Option<Symbol>, Corrupt> {
        loop {
            if let Some((symbol, bits)) = self.peek() {
                self.take(bits);
                return symbol.map(Some).ok_or_else(no_code);
            }
            if !self.need(pieces, self.bits.count + 1) {
                return Ok(None);
            }
        }
    }

    /// The symbol that the bits at hand begin with and its bits, if they are all there; no symbol if they are no code.
    fn peek(&self) -> Option<(Option<Symbol>, u32)> {
        let Bits { bits, count } = self.bits;
        let (entry, root) = look_up(&*self.tables.literals, LITERAL_BITS, bits);
        let literals = literals(entry);
        // A length behind literals waits for its turn.
        let mut used = root + if literals > 0 { literal_bits(entry) } else { passed(entry) };
        if used > count {
            return None;
        }
        if literals > 0 {
            let [_, _, first, second, ..] = entry.to_le_bytes();
            return Some((Some(Symbol::Literals(literals, [first, second])), used));
        }
        if entry & SPECIAL != 0 {
            return Some(((entry & END != 0).then_some(Symbol::EndOfBlock), used));
        }
        let length = value(entry, bits >> root);
        let behind = bits >> used;
        let (entry, root) = look_up(&*self.tables.distances, DISTANCE_BITS, behind);
        used += root + passed(entry);
        if used > count {
            return None;
        }
        if entry & SPECIAL != 0 {
            return Some((None, used));
        }
        let distance = value(entry, behind >> root);
        Some((Some(Symbol::Match { length, distance }), used))
    }

    fn copy(&mut self, pieces: &mut Pieces<'_>, length: usize, distance: usize) -> Result<bool, Corrupt> {
        let count = length.min(pieces.room());
        if distance > pieces.produced {
            self.window.copy_match(pieces.output, pieces.produced, distance, count);
        } else {
            for at in pieces.produced..pieces.produced + count {
                pieces.output[at] = pieces.output[at - distance];
            }
        }
        pieces.produced += count;
        self.state = if count == length { State::Codes } else { State::Match { length: length - count, distance } };
        Ok(count == length)
    }
}

/// The entry that `bits` lead to, and how many of them lead from the root to a longer table.
fn look_up(table: &[u64], root: u32, bits: u64) -> (u64, u32) {
    let entry = table[bits as usize & ((1 << root) - 1)];
    if entry & LONGER == 0 {
        return (entry, 0);
    }
    (table[longer_index(entry, bits >> root)], root)
}

fn no_code() -> Corrupt {
    Corrupt::new("its bits are no code")
}

fn too_far_back() -> Corrupt {
    Corrupt::new("a match begins before the first byte")
}

/// The last bytes that a stream has produced in the pieces before this one.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Box<[u8; WINDOW_BYTES]>,
    len: usize,
}

impl Window {
    fn new() -> Self {
        Self { bytes: Box::new([0; WINDOW_BYTES]), len: 0 }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Copies a match that begins in the window, `distance` bytes before the position `at` of `output`. It may run on
    /// into the output.
    #[cold]
    pub(super) fn copy_match(&self, output: &mut [u8], at: usize, distance: usize, length: usize) {
        let back = distance - at;
        let count = back.min(length);
        let from = self.len - back;
        output[at..at + count].copy_from_slice(&self.bytes[from..from + count]);
        for to in at + count..at + length {
            output[to] = output[to - distance];
        }
    }

    /// Takes in what was produced.
    fn keep(&mut self, produced: &[u8]) {
        let kept = &produced[produced.len().saturating_sub(WINDOW_BYTES)..];
        let too_many = (self.len + kept.len()).saturating_sub(WINDOW_BYTES);
        self.bytes.copy_within(too_many..self.len, 0);
        self.len -= too_many;
        self.bytes[self.len..self.len + kept.len()].copy_from_slice(kept);
        self.len += kept.len();
    }
}
