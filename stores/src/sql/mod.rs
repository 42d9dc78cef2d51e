//! SQL over the features store.

mod error;
mod partitions;
mod session;
mod snapshot;
mod table;

pub use session::{Answer, SqlSession};
