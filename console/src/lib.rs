//! What the daemon shows over HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever keeps it running.
//!
//! Everything is read only, and nothing here names a row of anybody's data. Counters are told by the process as things
//! happen; what stands in the task database is asked when somebody looks, at most every few seconds. The scheduler is
//! not known here: whoever owns both tells [`Metrics`] and [`Health`] what happens.
//!
//! **Invariant:** looking never waits long: a task database that does not answer is shown as such.

#![warn(missing_docs)]

mod health;
mod metrics;
mod poll;
mod server;

pub use health::Health;
pub use metrics::{Metrics, ShardLabel};
pub use poll::LiveReport;
pub use server::{Bound, Console, ConsoleError};
