//! Inflating: gzip, zstd or plain bytes, told from the first of them, as a stream in bounded memory.
//!
//! There is no cap on how much a file may inflate to: whatever its ratio, no more than the caller's buffer is held.

mod deflate;
mod fast;
mod gzip;
mod huffman;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use gzip::Gzip;

/// Bytes that begin a gzip member.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes that begin a zstd frame.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes 2 to 4 of a zstd frame that holds no data; its first is 0x50 to 0x5f.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// How many bytes tell the kinds apart.
pub(crate) const MAGIC_BYTES: usize = 4;

/// How far one step of inflating came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes of the input that are done with.
    pub(crate) consumed: usize,
    /// Bytes of the output that were written.
    pub(crate) produced: usize,
}

/// Why a file's bytes cannot be inflated: it contributes no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Corrupt(String);

impl Corrupt {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Turns the bytes of one file into what they stand for. A faster one may take the place of any of these; its verdict
/// on broken files must be the same.
pub(crate) trait Inflater: Send {
    /// Inflates from `input` into `output`. With neither consumed nor produced it needs more input.
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Corrupt>;

    /// Whether the file may end here.
    fn finish(&mut self) -> Result<(), Corrupt>;
}

/// The inflater for a file that begins with `head`: at least [`MAGIC_BYTES`], or all there are.
pub(crate) fn inflater_for(head: &[u8]) -> Result<Box<dyn Inflater>, Corrupt> {
    let is_skippable = matches!(head, [0x50..=0x5f, rest @ ..] if rest.starts_with(&ZSTD_SKIPPABLE));
    if head.starts_with(&GZIP) {
        Ok(Box::new(Gzip::new()))
    } else if head.starts_with(&ZSTD) || is_skippable {
        Ok(Box::new(Zstd::new()?))
    } else {
        Ok(Box::new(Plain))
    }
}

/// Bytes that stand for themselves.
struct Plain;

impl Inflater for Plain {
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Corrupt> {
        let copied = input.len().min(output.len());
        output[..copied].copy_from_slice(&input[..copied]);
        Ok(Progress { consumed: copied, produced: copied })
    }

    fn finish(&mut self) -> Result<(), Corrupt> {
        Ok(())
    }
}

/// zstd of any number of frames.
struct Zstd {
    decoder: Decoder<'static>,
    between_frames: bool,
}

impl Zstd {
    fn new() -> Result<Self, Corrupt> {
        let decoder = Decoder::new().map_err(|error| Corrupt::new(format!("zstd cannot start: {error}")))?;
        Ok(Self { decoder, between_frames: true })
    }
}

impl Inflater for Zstd {
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Corrupt> {
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
        let more = self
            .decoder
            .run(&mut from, &mut to)
            .map_err(|error| Corrupt::new(format!("zstd cannot be inflated: {error}")))?;
        let progress = Progress { consumed: from.pos(), produced: to.pos() };
        if progress.consumed + progress.produced > 0 {
            self.between_frames = more == 0;
        }
        Ok(progress)
    }

    fn finish(&mut self) -> Result<(), Corrupt> {
        if self.between_frames { Ok(()) } else { Err(Corrupt::new("zstd ends in the middle of a frame")) }
    }
}

#[cfg(test)]
mod tests;
