//! End to end: the real binary on real files, compared with answers that were found some other way.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, but the lint cannot tell")]

mod bad_input;
mod command_line;
mod faults;
mod freshness;
mod full_disk;
mod init;
mod late_files;
mod outages;
mod seeds;
#[cfg(feature = "servers")]
mod servers;
mod sharing;
mod watching;
mod wikiticker;

/// The command line of neartime with the features of this crate added.
const BINARY: &str = env!("CARGO_BIN_EXE_neartime-plus");
