//! Sources of raw files: finding them, and reading their lines into Arrow.
//!
//! Layouts tell a file's place and time from its key, discovery lists a location without looking at old files again,
//! and the one read of a chunk fetches, inflates, splits and parses for all features of the source. Nothing here
//! knows features, tasks or stores.

#![warn(missing_docs)]

pub mod channel;
mod discover;
mod import;
mod inflate;
pub mod key_path;
mod layout;
mod lines;
mod location;
mod raw_table;
mod read;
mod report;
pub mod reservoir;
mod rows;
mod source;
#[cfg(test)]
mod testing;
mod unique;
mod values;

pub use discover::{BATCH_FILES, DiscoverError, Discovered, Found, Scope, Seen, discover};
pub use import::{ImportError, ImportReport, ImportRequest, Overlap, import};
pub use layout::{FormatError, Layout, LayoutError, Matched};
pub use location::{InvalidLocation, Location};
pub use raw_table::RawTable;
pub use read::{DEFAULT_BATCH_ROWS, InputFile, ReadError, ReadRequest, Reading, Wanted, read, verify};
pub use report::{BadLine, EXAMPLE_BYTES, EXAMPLES_A_REASON, ReadReport, Reason};
pub use source::{
    Column, ColumnKind, DATA_CHUNK, Delimited, Due, Format, Header, InvalidColumn, InvalidFormat, InvalidSource,
    Origin, Outside, Pattern, Source, SourceSpec, TimeUnit, Zone,
};
