//! The beginning of a sample file, inflated.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::exit::Invalid;

/// How many lines are looked at.
const MAX_LINES: usize = 5_000;
/// How many inflated bytes are looked at.
const MAX_BYTES: u64 = 8 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file's first lines.
pub(super) struct Sample {
    pub(super) path: PathBuf,
    /// Without blank ones; at least one.
    pub(super) lines: Vec<String>,
}

impl Sample {
    /// Reads a plain, gzip or zstd file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let attempt = || format!("could not read the sample {}", path.display());
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Invalid(format!("there is no file {}", path.display())).into());
            }
            Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_dir()) => {
                return Err(Invalid(format!("{} is a folder: name some of the files in it", path.display())).into());
            }
            file => BufReader::new(file.with_context(attempt)?),
        };
        let mut bytes = Vec::new();
        inflated(file).and_then(|reader| reader.take(MAX_BYTES).read_to_end(&mut bytes)).with_context(attempt)?;
        // The cut may go through a line, which then says nothing.
        if bytes.len() as u64 == MAX_BYTES {
            bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1));
        }
        let text = String::from_utf8_lossy(&bytes);
        // Lines keep their blanks: with tabs between fields, the first or the last of them may be empty.
        let lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty());
        let lines: Vec<_> = lines.take(MAX_LINES).map(str::to_owned).collect();
        if lines.is_empty() {
            return Err(Invalid(format!("{} has no line: name a file with data", path.display())).into());
        }
        if lines.iter().any(|line| line.contains('\0')) {
            let text = format!("{} is no text: lines of JSON, delimited or log files are read", path.display());
            return Err(Invalid(text).into());
        }
        Ok(Self { path: path.to_owned(), lines })
    }
}

fn inflated(mut file: BufReader<File>) -> std::io::Result<Box<dyn Read>> {
    let head = file.fill_buf()?;
    if head.starts_with(&GZIP) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(file)))
    } else if head.starts_with(&ZSTD) {
        Ok(Box::new(zstd::Decoder::with_buffer(file)?))
    } else {
        Ok(Box::new(file))
    }
}
