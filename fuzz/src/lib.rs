//! The parsers of `ingest`, compiled without the rest of it, and what the targets ask of them.

#![allow(dead_code, reason = "not everything that the parsers offer is asked for here")]

/// What the parsers know of sources.
mod source {
    #[derive(Clone, Debug)]
    pub struct Column {
        pub name: String,
        pub origin: Origin,
    }

    #[derive(Clone, Debug)]
    pub enum Origin {
        Name,
        Path(String),
        Steps(Vec<String>),
    }
}

mod report {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Reason {
        NotJsonObject,
        LineCutOff,
        BadJson,
    }
}

/// What messages and records tell.
#[path = "."]
pub mod channel {
    #[path = "../../ingest/src/channel/keys.rs"]
    mod keys;
    #[path = "../../ingest/src/channel/notice.rs"]
    mod notice;

    pub use keys::keys_of_record;
    pub use notice::{Notice, form_decoded, notice_of_message};
}

#[path = "."]
pub mod inflate {
    #[path = "../../ingest/src/inflate/deflate.rs"]
    mod deflate;
    #[path = "../../ingest/src/inflate/fast.rs"]
    mod fast;
    #[path = "../../ingest/src/inflate/gzip.rs"]
    mod gzip_file;
    #[path = "../../ingest/src/inflate/huffman.rs"]
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
        let mut gzip = gzip_file::Gzip::new();
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
}

#[path = "."]
pub mod lines {
    #[path = "../../ingest/src/lines/json.rs"]
    mod json;
    #[path = "../../ingest/src/lines/name.rs"]
    mod name;
    #[path = "../../ingest/src/lines/paths.rs"]
    mod paths;
    #[path = "../../ingest/src/lines/scan.rs"]
    mod scan;
    #[path = "../../ingest/src/lines/shape.rs"]
    mod shape;

    use super::source::{Column, Origin};

    /// A value as it stands in its line, as `ingest` has it.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Raw<'a> {
        Absent,
        Null,
        Text(&'a [u8]),
        Escaped(&'a [u8]),
        Number(&'a [u8]),
        Bool(&'a [u8]),
        Container(&'a [u8]),
    }

    /// The walker over lines, for these keys of a line's own object.
    pub struct Walker(json::Walker);

    impl Walker {
        pub fn new(keys: &[&str]) -> Self {
            let column = |key: &&str| Column { name: (*key).to_owned(), origin: Origin::Name };
            Self(json::Walker::new(paths::Paths::new(&keys.iter().map(column).collect::<Vec<_>>()).0))
        }

        /// Whether the line is good as far as it was looked at.
        pub fn walk(&mut self, line: &[u8]) -> bool {
            self.0.walk(line).is_ok()
        }

        pub fn value<'a>(&self, line: &'a [u8], key: usize) -> Raw<'a> {
            self.0.raw(line, key)
        }
    }

    /// What the inside of a string with escapes stands for, if it is text.
    pub fn unescaped(body: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        scan::unescape(body, &mut out).ok()?;
        String::from_utf8(out).ok()
    }
}
