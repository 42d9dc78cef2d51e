//! The features store: a tree of Parquet files, one for each feature, chunk and path.

mod partition_file;
mod publisher;

pub use partition_file::{PartitionFile, Published};
pub use publisher::{Publisher, Put, Staged};
