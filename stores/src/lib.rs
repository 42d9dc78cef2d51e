//! Where features live: the Parquet tree (offline), the tables by entity (online), and SQL over the former.
//!
//! **Invariants:** a file's content of a lower order never replaces one of a higher; every key that may be live online
//! for a chunk and path is in its published file or in the hidden list of vanished keys beside it; readers see whole
//! files only, and no answer mixes two versions of one.

#![warn(missing_docs)]

pub mod athena;
mod error;
mod offline;
mod online;
mod sql;
#[cfg(test)]
mod testing;

pub use error::StoreError;
pub use offline::{
    ConditionalPut, FeaturesStore, Footer, PartitionFile, Published, PublishedFile, Publisher, Put, PutCondition,
    PutOutcome, Staged,
};
#[cfg(feature = "cassandra")]
pub use online::{CassandraOnlineStore, CassandraOptions};
pub use online::{OnlinePublished, OnlineStore, Rebuilt, SqliteOnlineStore, lookup, publish_online, rebuild_latest};
pub use sql::{Answer, HeldRows, SqlSession};
