//! The inflater, and zlib beside it.

mod deflate;
mod fast;
mod gzip;
mod huffman;

const GZIP: [u8; 2] = [0x1f, 0x8b];

#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    consumed: usize,
    produced: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt(String);

impl Corrupt {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

trait Inflater: Send {
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Corrupt>;
    fn finish(&mut self) -> Result<(), Corrupt>;
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Inflated {
    /// It ended after so many bytes of the input.
    Whole(Vec<u8>, usize),
    /// It goes on behind the input.
    Cut,
    Broken,
}

/// Inflates a deflate stream, fed in pieces of `piece` bytes, into buffers of `room` bytes.
pub fn stream(data: &[u8], piece: usize, room: usize) -> Inflated {
    let mut deflate = deflate::Deflate::new();
    let (mut out, mut buffer, mut start, mut end) = (Vec::new(), vec![0; room], 0, piece.min(data.len()));
    loop {
        let Ok((progress, ended)) = deflate.inflate(&data[start..end], &mut buffer) else { return Inflated::Broken };
        start += progress.consumed;
        out.extend_from_slice(&buffer[..progress.produced]);
        if ended {
            return Inflated::Whole(out, start);
        }
        if progress.consumed + progress.produced == 0 {
            if end == data.len() {
                return Inflated::Cut;
            }
            end = (end + piece).min(data.len());
        }
    }
}

/// Inflates a gzip file.
pub fn file(data: &[u8], piece: usize, room: usize) -> Option<Vec<u8>> {
    let mut gzip = gzip::Gzip::new();
    let (mut out, mut buffer, mut start, mut end) = (Vec::new(), vec![0; room], 0, piece.min(data.len()));
    loop {
        let progress = gzip.inflate(&data[start..end], &mut buffer).ok()?;
        start += progress.consumed;
        out.extend_from_slice(&buffer[..progress.produced]);
        if progress.consumed + progress.produced == 0 {
            if end == data.len() {
                return gzip.finish().ok().map(|()| out);
            }
            end = (end + piece).min(data.len());
        }
    }
}

/// What zlib makes of a stream, or of a gzip file of one member.
pub fn zlib(mut zlib: flate2::Decompress, data: &[u8]) -> Inflated {
    let (mut out, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let (consumed, produced) = (zlib.total_in() as usize, zlib.total_out() as usize);
        let status = zlib.decompress(&data[consumed..], &mut buffer, flate2::FlushDecompress::None);
        let Ok(status) = status else { return Inflated::Broken };
        let count = zlib.total_out() as usize - produced;
        out.extend_from_slice(&buffer[..count]);
        if status == flate2::Status::StreamEnd {
            return Inflated::Whole(out, zlib.total_in() as usize);
        }
        if count == 0 && zlib.total_in() as usize == consumed {
            return Inflated::Cut;
        }
    }
}
