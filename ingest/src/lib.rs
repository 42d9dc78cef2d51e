//! Sources of raw files: finding them, and reading their lines into Arrow.
//!
//! Layouts tell a file's place and time from its key, discovery lists a location without looking at old files again,
//! and the one read of a chunk fetches, inflates, splits and parses for all features of the source. Nothing here
//! knows features, tasks or stores.

#![warn(missing_docs)]

mod discover;
mod import;
mod layout;
mod lines;
mod location;
mod raw_table;
mod read;
mod source;
