//! SQL over the features store.

mod error;
mod held;
mod partitions;
mod session;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use held::HeldRows;
pub use session::{Answer, SqlSession};
