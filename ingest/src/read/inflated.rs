//! The inflated bytes of one file: inflated by the thread that parses them, until another one is idle and does it ahead.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use super::fetch::Fetch;
use super::{BYTES_A_THREAD, InputFile, ReadError, Reader};
use crate::inflate::{Inflater, MAGIC_BYTES, inflater_for};
use crate::lines::{BLOCK_BYTES, ReadBytes, read_by_copying};

/// How many blocks are inflated ahead. So many bridge the time for which the parser's core is given to a feature:
/// with fewer, the core that inflates would wait for it too.
const BLOCKS_AHEAD: usize = 24;
/// Room at the beginning of a block for the beginning of a line that ends in it.
const HEADROOM: usize = 64 << 10;
/// Larger buffers are not used again: each block ahead might come to be one.
const LARGEST_KEPT: usize = 4 * BLOCK_BYTES;

/// How many bytes a file had.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    pub(super) stored: u64,
    pub(super) inflated: u64,
}

/// A file being fetched and inflated.
pub(super) struct InflatedFile<'a> {
    reader: &'a Reader,
    file: &'a InputFile,
    fetch: Fetch<'a>,
    /// The first bytes of the file, before they are inflated like any other.
    head: Vec<u8>,
    inflater: Box<dyn Inflater>,
    at_end: bool,
    inflated: u64,
}

impl<'a> InflatedFile<'a> {
    pub(super) fn open(reader: &'a Reader, file: &'a InputFile) -> Result<Self, ReadError> {
        let mut fetch = Fetch::open(reader, file)?;
        let mut head = Vec::new();
        while head.len() < MAGIC_BYTES {
            let bytes = fetch.fill()?;
            let taken = bytes.len().min(MAGIC_BYTES - head.len());
            if taken == 0 {
                break;
            }
            head.extend_from_slice(&bytes[..taken]);
            fetch.consume(taken);
        }
        let inflater = inflater_for(&head).map_err(|error| file.broken(error.to_string()))?;
        Ok(Self { reader, file, fetch, head, inflater, at_end: false, inflated: 0 })
    }

    fn size(&self) -> Size {
        Size { stored: self.fetch.received(), inflated: self.inflated }
    }

    /// Whether so much is still to come that another thread is worth its start.
    fn goes_on(&self) -> bool {
        self.fetch.left() >= BYTES_A_THREAD
    }

    /// Inflates the rest into blocks, until the end or until nobody takes them any more.
    fn inflate_ahead(mut self, full: &SyncSender<Result<Block, ReadError>>, empty: &Receiver<Vec<u8>>) {
        for made in 0.. {
            // Once there are enough blocks they go round.
            let mut bytes = match made <= BLOCKS_AHEAD {
                true => Vec::new(),
                false => match empty.recv() {
                    Ok(bytes) => bytes,
                    Err(_) => return,
                },
            };
            // What comes back may be the buffer that a block was exchanged for, and a long line may have made it long.
            if bytes.capacity() > LARGEST_KEPT {
                bytes = Vec::new();
            }
            bytes.resize(HEADROOM + BLOCK_BYTES, 0);
            let read = self.read(&mut bytes[HEADROOM..]);
            let goes_on = matches!(read, Ok(filled) if filled > 0);
            let size = self.size();
            let sent = full.send(read.map(|filled| Block { bytes, rest: HEADROOM..HEADROOM + filled, size }));
            if sent.is_err() || !goes_on {
                return;
            }
        }
    }

    /// Inflates some bytes into `out`; none at the end.
    fn inflate(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        while !self.at_end {
            let from_head = !self.head.is_empty();
            let input = if from_head { &self.head } else { self.fetch.fill()? };
            let is_last = input.is_empty();
            let inflated = self.inflater.inflate(input, out);
            let progress = match inflated {
                Ok(progress) => progress,
                Err(error) => return Err(self.broken(error.to_string())),
            };
            if from_head {
                self.head.drain(..progress.consumed);
            } else {
                self.fetch.consume(progress.consumed);
            }
            if progress.produced > 0 {
                self.inflated += progress.produced as u64;
                return Ok(progress.produced);
            }
            if progress.consumed == 0 {
                self.no_progress(is_last, from_head)?;
            }
        }
        Ok(0)
    }

    /// Neither consumed nor produced: the end of the file, or of the bytes at hand.
    fn no_progress(&mut self, is_last: bool, from_head: bool) -> Result<(), ReadError> {
        if is_last {
            self.at_end = true;
            if let Err(error) = self.inflater.finish() {
                return Err(self.broken(error.to_string()));
            }
            return self.fetch.check_unchanged();
        }
        if from_head {
            // The head alone does not do: it is put before what follows.
            let more = self.fetch.fill()?.to_vec();
            self.fetch.consume(more.len());
            if more.is_empty() {
                return Err(self.broken("it ends within its first bytes".to_owned()));
            }
            self.head.extend_from_slice(&more);
            return Ok(());
        }
        Err(self.broken("its inflater stands still".to_owned()))
    }

    /// The file is broken, unless it is another one by now.
    fn broken(&self, reason: String) -> ReadError {
        match self.fetch.check_unchanged() {
            Ok(()) => self.file.broken(reason),
            Err(error) => error,
        }
    }
}

impl ReadBytes for InflatedFile<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        self.reader.check_stop()?;
        let mut filled = 0;
        while filled < out.len() {
            match self.inflate(&mut out[filled..])? {
                0 => break,
                produced => filled += produced,
            }
        }
        Ok(filled)
    }
}

/// A file's bytes for the thread that parses them.
pub(super) struct FileBytes<'scope, 'env> {
    /// Where the thread is started that takes the inflating over.
    scope: &'scope Scope<'scope, 'env>,
    inflating: Inflating<'scope>,
}

enum Inflating<'a> {
    Here(InflatedFile<'a>),
    Ahead(ReadAhead),
}

impl<'scope, 'env> FileBytes<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, file: InflatedFile<'scope>) -> Self {
        Self { scope, inflating: Inflating::Here(file) }
    }

    pub(super) fn size(&self) -> Size {
        match &self.inflating {
            Inflating::Here(file) => file.size(),
            Inflating::Ahead(ahead) => ahead.current.size,
        }
    }

    #[cfg(test)]
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self.inflating, Inflating::Ahead(_))
    }

    /// Lets an idle thread inflate the rest of the file, if there is one by now.
    fn hand_over(&mut self) {
        let Inflating::Here(file) = &self.inflating else { return };
        if !file.goes_on() || !file.reader.take_idle() {
            return;
        }
        match ReadAhead::spawn(self.scope) {
            Ok((ahead, taker)) => {
                if let Inflating::Here(file) = std::mem::replace(&mut self.inflating, Inflating::Ahead(ahead)) {
                    taker.send(file).expect("the new thread waits for a file");
                }
            }
            Err(error) => tracing::warn!(%error, "a thread could not be started: inflating where lines are parsed"),
        }
    }
}

impl ReadBytes for FileBytes<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        self.hand_over();
        match &mut self.inflating {
            Inflating::Here(file) => file.read(out),
            Inflating::Ahead(ahead) => ahead.read(out),
        }
    }

    fn read_behind(&mut self, buffer: &mut Vec<u8>, kept: Range<usize>) -> Result<Range<usize>, ReadError> {
        self.hand_over();
        match &mut self.inflating {
            Inflating::Here(file) => file.read_behind(buffer, kept),
            Inflating::Ahead(ahead) => ahead.read_behind(buffer, kept),
        }
    }
}

/// A file that another thread inflates ahead of the one that reads here.
struct ReadAhead {
    blocks: Receiver<Result<Block, ReadError>>,
    /// Where emptied blocks go to be filled again.
    emptied: SyncSender<Vec<u8>>,
    current: Block,
    at_end: bool,
}

#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// Where the bytes are that have not been read yet.
    rest: Range<usize>,
    /// What has been inflated up to the end of this block.
    size: Size,
}

impl ReadAhead {
    /// Starts a thread that inflates the file that it is sent.
    fn spawn<'scope>(scope: &'scope Scope<'scope, '_>) -> io::Result<(Self, SyncSender<InflatedFile<'scope>>)> {
        let (taker, taken) = sync_channel::<InflatedFile<'scope>>(1);
        let (full, blocks) = sync_channel(BLOCKS_AHEAD);
        let (emptied, empty) = sync_channel(BLOCKS_AHEAD + 1);
        let inflate = move || {
            if let Ok(file) = taken.recv() {
                let reader = file.reader;
                file.inflate_ahead(&full, &empty);
                reader.leave_idle();
            }
        };
        Builder::new().name("inflate".to_owned()).spawn_scoped(scope, inflate)?;
        Ok((Self { blocks, emptied, current: Block::default(), at_end: false }, taker))
    }

    /// Waits for the next block.
    fn advance(&mut self) -> Result<(), ReadError> {
        let next =
            self.blocks.recv().map_err(|_| ReadError::Failed { what: "inflate: its thread died".to_owned() })??;
        self.at_end = next.rest.is_empty();
        let emptied = std::mem::replace(&mut self.current, next).bytes;
        if !emptied.is_empty() {
            // At the end nobody waits for it any more.
            let _ = self.emptied.try_send(emptied);
        }
        Ok(())
    }
}

impl ReadBytes for ReadAhead {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled = 0;
        while filled < out.len() && !self.at_end {
            let Block { bytes, rest, .. } = &mut self.current;
            if rest.start == rest.end {
                self.advance()?;
                continue;
            }
            let copied = rest.len().min(out.len() - filled);
            out[filled..filled + copied].copy_from_slice(&bytes[rest.start..rest.start + copied]);
            rest.start += copied;
            filled += copied;
        }
        Ok(filled)
    }

    fn read_behind(&mut self, buffer: &mut Vec<u8>, kept: Range<usize>) -> Result<Range<usize>, ReadError> {
        if self.current.rest.is_empty() && !self.at_end {
            self.advance()?;
        }
        let Block { bytes, rest, .. } = &mut self.current;
        if kept.len() > rest.start {
            return read_by_copying(self, buffer, kept);
        }
        // What is kept goes before the block, and the block where the buffer was.
        let start = rest.start - kept.len();
        bytes[start..rest.start].copy_from_slice(&buffer[kept]);
        std::mem::swap(bytes, buffer);
        Ok(start..std::mem::take(rest).end)
    }
}
