//! The one read of a chunk: fetch, inflate, split, parse, send.
//!
//! Threads take files from a shared list, the largest first, and send batches through one bounded channel. Once the list
//! is empty, a file that is still being read is inflated by an idle thread and parsed by its own. Memory follows the
//! number of threads and the size of a batch, never the size of the chunk.

mod error;
mod fetch;
mod inflated;
mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use error::ReadError;
pub use request::{DEFAULT_BATCH_ROWS, InputFile, ReadRequest, Wanted};

use crate::lines::{Lines, ReadBytes};
use crate::location::Location;
use crate::report::{Findings, ReadReport};
use crate::rows::{CurrentFile, Output, Plan, Rows};
use crate::source::Source;
use crate::unique;
use inflated::{FileBytes, InflatedFile};

/// Another thread is worth its start for so many stored bytes.
const BYTES_A_THREAD: u64 = 256 << 10;

/// A read under way. Dropping it stops the read.
#[derive(Debug)]
pub struct Reading {
    /// The rows, in no particular order; closed at the end, and also when the read failed: ask [`Self::report`].
    pub batches: mpsc::Receiver<RecordBatch>,
    report: JoinHandle<Result<ReadReport, ReadError>>,
}

impl Reading {
    /// Takes the parts of a read: a channel that its task fills.
    pub(crate) fn new(batches: mpsc::Receiver<RecordBatch>, report: JoinHandle<Result<ReadReport, ReadError>>) -> Self {
        Self { batches, report }
    }

    /// What the read found, once its batches have all been received. **Rows count only if this is no error**: a file
    /// may turn out to be broken after its rows were sent.
    pub async fn report(self) -> Result<ReadReport, ReadError> {
        drop(self.batches);
        self.report.await.unwrap_or_else(|died| Err(ReadError::Failed { what: format!("finish a read: {died}") }))
    }
}

/// Begins to read the files of `request`; must be called within a tokio runtime. `context` bounds the memory that
/// `unique` sorts in; beyond it, it spills.
pub fn read(source: &Arc<Source>, request: ReadRequest, context: &Arc<TaskContext>) -> Reading {
    if source.unique.is_some() { unique::read(source, request, context) } else { start(source, request, &[]) }
}

/// Begins to read, with the `hidden` outputs behind the wanted columns.
pub(crate) fn start(source: &Arc<Source>, request: ReadRequest, hidden: &[Output]) -> Reading {
    let threads = request.threads.max(1);
    let (sender, batches) = mpsc::channel(threads + 1);
    let reader = Reader::new(source, sender);
    let hidden = hidden.to_vec();
    let report = tokio::task::spawn_blocking(move || {
        let plan = Arc::new(request.plan(&reader.source, &hidden)?);
        let files = request.into_files(&reader.source)?;
        reader.read_all(&plan, &files, threads)
    });
    Reading { batches, report }
}

/// Reads the files of `request` for nobody: whether those that broke are still broken.
pub async fn verify(source: &Arc<Source>, request: ReadRequest) -> Result<(), ReadError> {
    let mut reading = start(source, ReadRequest { wanted: Wanted::default(), ..request }, &[]);
    while reading.batches.recv().await.is_some() {}
    reading.report().await.map(drop)
}

/// What the threads of one read share.
#[derive(Debug)]
pub(crate) struct Reader {
    source: Arc<Source>,
    runtime: Handle,
    sender: mpsc::Sender<RecordBatch>,
    /// Set by the first file that is broken or gone: no row counts any more, and the other files are only tried.
    in_vain: AtomicBool,
    /// Set by the first thread that fails for any other reason.
    stopped: AtomicBool,
    /// So many more threads might run: there is no file left for them.
    idle: AtomicUsize,
}

impl Reader {
    fn new(source: &Arc<Source>, sender: mpsc::Sender<RecordBatch>) -> Self {
        let no = || AtomicBool::new(false);
        let (runtime, idle) = (Handle::current(), AtomicUsize::new(0));
        Self { source: Arc::clone(source), runtime, sender, in_vain: no(), stopped: no(), idle }
    }

    fn location(&self) -> &Location {
        &self.source.location
    }

    /// Waits for the outside world, or for the end of the interest in this read.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, ReadError> {
        self.runtime.block_on(async {
            tokio::select! {
                result = future => Ok(result),
                () = self.sender.closed() => Err(ReadError::Cancelled),
            }
        })
    }

    fn check_stop(&self) -> Result<(), ReadError> {
        let stop = self.sender.is_closed() || self.stopped.load(Ordering::Relaxed);
        if stop { Err(ReadError::Cancelled) } else { Ok(()) }
    }

    /// Makes one more thread idle.
    fn leave_idle(&self) {
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one of the idle threads, if there is any.
    fn take_idle(&self) -> bool {
        self.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |idle| idle.checked_sub(1)).is_ok()
    }

    /// Reads all files with `threads` threads. Broken ones are found all at once, and so are those that are gone, or
    /// each would cost a read of its own; the first other error stops all threads.
    fn read_all(
        &self,
        plan: &Arc<Plan>,
        files: &[(InputFile, CurrentFile)],
        threads: usize,
    ) -> Result<ReadReport, ReadError> {
        let next = AtomicUsize::new(0);
        let stored: u64 = files.iter().map(|(input, _)| input.size).sum();
        let threads = threads.min(1 + usize::try_from(stored / BYTES_A_THREAD).unwrap_or(threads));
        let workers = threads.min(files.len());
        self.idle.store(threads - workers, Ordering::Relaxed);
        let outcome = Mutex::new(Ok(Findings::default()));
        let work = || {
            let mut worker = Worker { reader: self, rows: Rows::new(Arc::clone(plan)), lines: Lines::new() };
            while let Some((input, current)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.check_stop().is_err() {
                    break;
                }
                self.add(&outcome, worker.read_file(input, current));
            }
            self.leave_idle();
        };
        std::thread::scope(|scope| {
            for _ in 1..workers {
                let spawned = std::thread::Builder::new().name("read".to_owned()).spawn_scoped(scope, work);
                if let Err(error) = spawned {
                    tracing::warn!(%error, "a reader thread could not be started: reading with fewer");
                }
            }
            work();
        });
        let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        let cancelled = self.sender.is_closed();
        outcome.and_then(|findings| if cancelled { Err(ReadError::Cancelled) } else { Ok(findings.into_report(0)) })
    }

    /// Adds what one file gave to the outcome of all.
    fn add(&self, outcome: &Mutex<Result<Findings, ReadError>>, file: Result<Findings, ReadError>) {
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *outcome, file) {
            (Ok(findings), Ok(found)) => findings.merge(found),
            (Err(ReadError::Broken { files }), Err(ReadError::Broken { files: more })) => files.extend(more),
            (Err(ReadError::Gone { keys }), Err(ReadError::Gone { keys: more })) => keys.extend(more),
            // Without a file that is gone nothing goes on: which others are broken is asked later.
            (Err(ReadError::Gone { .. }), Err(ReadError::Broken { .. })) => {}
            (Ok(_) | Err(ReadError::Broken { .. } | ReadError::Gone { .. }), Err(error)) => {
                let of_file = matches!(error, ReadError::Broken { .. } | ReadError::Gone { .. });
                let how = if of_file { &self.in_vain } else { &self.stopped };
                how.store(true, Ordering::Relaxed);
                *outcome = Err(error);
            }
            // What was sound is of no use any more; the others are cancelled because of the first.
            (Err(_), _) => {}
        }
    }
}

/// One thread of a read.
struct Worker<'a> {
    reader: &'a Reader,
    rows: Rows,
    lines: Lines,
}

impl Worker<'_> {
    fn read_file(&mut self, input: &InputFile, current: &CurrentFile) -> Result<Findings, ReadError> {
        let file = InflatedFile::open(self.reader, input)?;
        let (mut findings, size) = std::thread::scope(|scope| {
            let mut bytes = FileBytes::new(scope, file);
            let findings = self.parse(&mut bytes, input, current)?;
            Ok((findings, bytes.size()))
        })?;
        findings.bytes_read = size.stored;
        findings.bytes_inflated = size.inflated;
        Ok(findings)
    }

    /// Parses the lines of one file and sends its batches.
    fn parse(
        &mut self,
        bytes: &mut dyn ReadBytes,
        input: &InputFile,
        current: &CurrentFile,
    ) -> Result<Findings, ReadError> {
        let mut findings = Findings::default();
        let quoting = self.rows.begin_file();
        self.lines.begin_file(quoting);
        while let Some((number, line)) = self.lines.next(bytes)? {
            self.rows.take(&line, number, current, &mut findings).map_err(|reason| input.broken(reason))?;
            if self.rows.is_full() {
                self.send(current)?;
            }
        }
        self.send(current)?;
        Ok(findings)
    }

    fn send(&mut self, current: &CurrentFile) -> Result<(), ReadError> {
        match self.rows.finish_batch(current) {
            _ if self.reader.in_vain.load(Ordering::Relaxed) => Ok(()),
            Some(batch) => self.reader.sender.blocking_send(batch).map_err(|_| ReadError::Cancelled),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
