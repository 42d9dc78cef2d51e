//! What the end-to-end tests share: raw reservoirs to write, the real binary to run, and the seed data to compare with.
//!
//! The binary is `neartime-plus`: the command line of `neartime`, unchanged, with the features of [`wiki`] and
//! [`faulty`] added to its list, as a feature's author would add them.

pub mod configs;
pub mod disk;
pub mod faulty;
#[cfg(target_os = "linux")]
pub mod opened;
pub mod proxy;
pub mod reservoir;
#[cfg(feature = "servers")]
pub mod servers;
pub mod shared;
pub mod site;
pub mod wiki;
