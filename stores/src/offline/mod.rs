//! The features store: a tree of Parquet files, one for each feature, chunk and path.

mod adapt;
mod bucket;
mod directory;
mod encode;
mod footer;
pub(crate) mod keys;
mod listing;
mod partition_file;
mod published;
mod publisher;
mod reader;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod vanished;

#[cfg(feature = "cassandra")]
pub(crate) use adapt::batch_as;
pub(crate) use adapt::column_as;
#[cfg(test)]
pub(crate) use bucket::BucketPublisher;
#[cfg(test)]
pub(crate) use directory::DirectoryPublisher;
pub(crate) use encode::compare_rows;
pub use footer::Footer;
pub(crate) use listing::{ListedFile, list_files};
pub use partition_file::{PartitionFile, Published};
pub use published::PublishedFile;
pub(crate) use published::is_changed;
pub use publisher::{ConditionalPut, Publisher, Put, PutCondition, PutOutcome, Staged};
pub(crate) use reader::{PinnedReader, ReadWatch, TAIL_BYTES, Unreadable};
pub use store::FeaturesStore;
pub(crate) use store::key_schema;
#[cfg(test)]
pub(crate) use tree::LocalTree;
