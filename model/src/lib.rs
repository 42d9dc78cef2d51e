//! The nouns of neartime: chunks of time, partitions, names, keys and the clock.
//!
//! Everything here is a value. There is no I/O, no async and no Arrow in this crate, so that every other crate
//! can share its words without sharing anything else.
//!
//! **Invariant:** all instants are UTC, all intervals are half-open `[start, end)`.

#![warn(missing_docs)]

mod causes;
mod chunk;
mod clock;
mod error;
mod file;
mod name;
mod numbers;
mod partition;
mod text_key;
mod time;

pub use causes::{causes, chain, panic_text};
pub use chunk::{Chunk, ChunkWidth, InvalidWidth};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Classified, Classify, ErrorKind, FileChanged};
pub use file::{FileKey, FilePath, FileVersion, partition_file_stem};
pub use name::{FeatureName, InvalidName, OutputName, RESERVED_OUTPUT_NAMES, SourceName};
pub use numbers::{ContentOrder, FeatureVersion, Fence, Generation};
pub use partition::{InvalidPartition, Partition, PartitionColumn};
pub use text_key::{shared_prefix, text_key};
pub use time::{Instant, InvalidInstant, InvalidSpan, Span};
