//! The reservoir of a source that is filled from a stream of events: records become raw gzip files in the source's own
//! layout.
//!
//! Values in, values out: [`Cutter::add`] takes records and gives files, [`put`] puts a file where nothing is yet and
//! says what is to be registered, [`sweep`] removes what never was. Reading the stream, registering and moving the
//! checkpoint are the caller's.
//!
//! A file's name holds its shard and its first and last record, and a name is given once. So whoever reads the same
//! records twice, a worker after a crash or two that both believe they hold the shard, either finds the same file in
//! place or makes another name, and only what is registered in one transaction with the checkpoint is ever read.
//!
//! **Invariant:** a file holds records of one shard and one chunk, in the stream's order, and a name's content never
//! changes.

mod cutter;
mod names;
mod put;
mod sweep;
#[cfg(test)]
mod tests;

pub use cutter::{CutLimits, Cutter, RawFile};
pub use names::{InvalidReservoir, Reservoir};
pub use put::{ReservoirError, put};
pub use sweep::{Ledger, SWEPT_AFTER, Swept, sweep};
