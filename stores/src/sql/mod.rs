//! SQL over the features store.

mod error;
mod partitions;
mod session;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use session::{Answer, SqlSession};
