//! The threads that one worker computes on: a runtime of its own, thrown away with whatever hangs on it.
//!
//! A feature that never returns cannot be stopped, only left behind. Leaving its threads to it keeps the other
//! workers, the heartbeats and the database calls going.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A worker's own computing threads.
#[derive(Debug)]
pub(crate) struct ComputeThreads {
    threads: usize,
    runtime: Mutex<Option<Runtime>>,
}

impl ComputeThreads {
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads, runtime: Mutex::new(None) }
    }

    /// Runs `work` on these threads.
    pub(crate) fn spawn<F>(&self, work: F) -> std::io::Result<JoinHandle<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut runtime = self.lock();
        if runtime.is_none() {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(self.threads).thread_name("compute").enable_all();
            *runtime = Some(builder.build()?);
        }
        Ok(runtime.as_ref().expect("built above").spawn(work))
    }

    /// Leaves these threads to whatever hangs on them; the next work gets new ones.
    pub(crate) fn abandon(&self) {
        if let Some(runtime) = self.lock().take() {
            runtime.shutdown_background();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A runtime must not be dropped where others await, so it is always left to end by itself.
impl Drop for ComputeThreads {
    fn drop(&mut self) {
        self.abandon();
    }
}
