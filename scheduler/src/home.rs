//! The task database as computing threads reach it: every call runs on the process's own runtime.
//!
//! A worker's threads are left behind with whatever hangs on them, and their runtime with them. A connection to a
//! server that had been opened there would then stand dead in the pool that all workers share, so no call to the
//! database is ever driven from there.

use std::future::Future;
use std::sync::Arc;

use neartime_tasks_db::{Result, TasksDb, TasksError};
use tokio::runtime::Handle;

/// The way home, for work that is done on other threads.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    tasks: Arc<dyn TasksDb>,
    runtime: Handle,
}

impl Home {
    /// The runtime of the caller is where calls will run.
    pub(crate) fn here(tasks: &Arc<dyn TasksDb>) -> Self {
        Self { tasks: Arc::clone(tasks), runtime: Handle::current() }
    }

    /// Calls the task database at home. A caller that goes away meanwhile does not stop the call: it is guarded by
    /// its fence, and cutting it off would cost the connection.
    pub(crate) async fn call<T, F>(&self, call: impl FnOnce(Arc<dyn TasksDb>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let called = self.runtime.spawn(call(Arc::clone(&self.tasks))).await;
        called.unwrap_or_else(|error| {
            Err(TasksError::Broken { doing: "end a call made for a worker", source: Box::new(error) })
        })
    }
}
