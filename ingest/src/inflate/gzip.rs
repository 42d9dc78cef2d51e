//! gzip (RFC 1952): any number of members, with zero padding after each.

use crc_fast::{CrcAlgorithm, Digest};

use super::deflate::Deflate;
use super::{Corrupt, GZIP, Inflater, Progress};

const DEFLATE: u8 = 8;
/// Flags of a header.
const HAS_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;
/// Bytes of a header that always come, and of a trailer.
const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

/// A gzip file being inflated.
#[derive(Debug)]
pub(super) struct Gzip {
    part: Part,
    deflate: Box<Deflate>,
    /// Of what the member has produced, or of its header.
    crc: Digest,
    flags: u8,
    /// A header's or trailer's bytes of fixed number.
    fixed: [u8; HEADER_BYTES],
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header { have: usize },
    ExtraLength { have: usize },
    Extra { left: u16 },
    Name,
    Comment,
    HeaderCrc { have: usize },
    Body,
    Trailer { have: usize },
    Between,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            part: Part::Header { have: 0 },
            deflate: Box::new(Deflate::new()),
            crc: Digest::new(CrcAlgorithm::Crc32IsoHdlc),
            flags: 0,
            fixed: [0; HEADER_BYTES],
        }
    }

    fn begin_member(&mut self) {
        self.part = Part::Header { have: 0 };
        self.crc.reset();
    }

    /// Skips padding up to the next member.
    fn between(&mut self, input: &[u8]) -> Result<usize, Corrupt> {
        let padding = input.iter().take_while(|&&byte| byte == 0).count();
        match &input[padding..] {
            [] => {}
            [first] if *first == GZIP[0] => self.begin_member(),
            [first, second, ..] if [*first, *second] == GZIP => self.begin_member(),
            _ => return Err(Corrupt::new("bytes that are no gzip member follow a complete one")),
        }
        Ok(padding)
    }

    /// Takes in one byte of a header.
    fn header(&mut self, byte: u8) -> Result<(), Corrupt> {
        let in_crc = !matches!(self.part, Part::HeaderCrc { .. });
        let crc = self.crc();
        if in_crc {
            self.crc.update(&[byte]);
        }
        self.part = match self.part {
            Part::Header { have } => {
                self.fixed[have] = byte;
                match have + 1 {
                    HEADER_BYTES => self.fixed_header()?,
                    have => Part::Header { have },
                }
            }
            Part::ExtraLength { have: 0 } => {
                self.fixed[0] = byte;
                Part::ExtraLength { have: 1 }
            }
            Part::ExtraLength { .. } => match u16::from_le_bytes([self.fixed[0], byte]) {
                0 => self.behind(HAS_EXTRA),
                left => Part::Extra { left },
            },
            Part::Extra { left: 1 } => self.behind(HAS_EXTRA),
            Part::Extra { left } => Part::Extra { left: left - 1 },
            Part::Name if byte == 0 => self.behind(HAS_NAME),
            Part::Comment if byte == 0 => self.behind(HAS_COMMENT),
            Part::HeaderCrc { have: 0 } => {
                self.fixed[0] = byte;
                Part::HeaderCrc { have: 1 }
            }
            Part::HeaderCrc { .. } if [self.fixed[0], byte] != crc.to_le_bytes()[..2] => {
                return Err(Corrupt::new("gzip cannot be inflated: its header's checksum is wrong"));
            }
            Part::HeaderCrc { .. } => self.behind(HAS_CRC),
            part => part,
        };
        if self.part == Part::Body {
            self.crc.reset();
            self.deflate.begin();
        }
        Ok(())
    }

    /// What the fixed part of a header says.
    fn fixed_header(&mut self) -> Result<Part, Corrupt> {
        let [first, second, method, flags, ..] = self.fixed;
        self.flags = flags;
        if [first, second] != GZIP || method != DEFLATE || flags & RESERVED != 0 {
            return Err(Corrupt::new("gzip cannot be inflated: its header is not of the kind that is known"));
        }
        Ok(self.behind(0))
    }

    /// What comes behind the part of a header that `flag` tells of.
    fn behind(&self, flag: u8) -> Part {
        let parts = [
            (HAS_EXTRA, Part::ExtraLength { have: 0 }),
            (HAS_NAME, Part::Name),
            (HAS_COMMENT, Part::Comment),
            (HAS_CRC, Part::HeaderCrc { have: 0 }),
        ];
        let behind = parts.iter().position(|(of, _)| *of == flag).map_or(0, |at| at + 1);
        let next = parts[behind..].iter().find(|(of, _)| self.flags & of != 0);
        next.map_or(Part::Body, |(_, part)| *part)
    }

    /// The checksum so far.
    fn crc(&self) -> u32 {
        u32::try_from(self.crc.finalize()).expect("a checksum of 32 bits")
    }

    /// Takes in one byte of a trailer.
    fn trailer(&mut self, byte: u8, have: usize) -> Result<(), Corrupt> {
        self.fixed[have] = byte;
        self.part = Part::Trailer { have: have + 1 };
        if have + 1 < TRAILER_BYTES {
            return Ok(());
        }
        self.part = Part::Between;
        let number = |at: usize| self.fixed[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        if number(0) != Some(self.crc()) {
            return Err(Corrupt::new("gzip cannot be inflated: its checksum is wrong"));
        }
        // The trailer tells the length modulo 2³².
        if number(4) != Some(self.crc.get_amount() as u32) {
            return Err(Corrupt::new("gzip cannot be inflated: its length is wrong"));
        }
        Ok(())
    }
}

impl Inflater for Gzip {
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Corrupt> {
        let mut consumed = 0;
        while consumed < input.len() || self.part == Part::Body {
            match self.part {
                Part::Body => {
                    let (progress, ended) = self
                        .deflate
                        .inflate(&input[consumed..], output)
                        .map_err(|Corrupt(reason)| Corrupt::new(format!("gzip cannot be inflated: {reason}")))?;
                    self.crc.update(&output[..progress.produced]);
                    consumed += progress.consumed;
                    if ended {
                        self.part = Part::Trailer { have: 0 };
                    }
                    if !ended || progress.produced > 0 {
                        return Ok(Progress { consumed, produced: progress.produced });
                    }
                }
                Part::Trailer { have } => {
                    self.trailer(input[consumed], have)?;
                    consumed += 1;
                }
                Part::Between => {
                    let skipped = self.between(&input[consumed..])?;
                    consumed += skipped;
                }
                _ => {
                    self.header(input[consumed])?;
                    consumed += 1;
                }
            }
        }
        Ok(Progress { consumed, produced: 0 })
    }

    fn finish(&mut self) -> Result<(), Corrupt> {
        match self.part {
            Part::Between => Ok(()),
            _ => Err(Corrupt::new("gzip ends in the middle of a member")),
        }
    }
}
