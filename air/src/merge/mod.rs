//! Many files that are each sorted by user, brought together user by user.
//!
//! ```text
//! sources ─► blocks of rows ─► windows of users ─► all that is known of one user
//! ```
//!
//! Blocks are read ahead. A window is cut where all sources are known to be past: whoever is in it has no rows
//! elsewhere. Threads read and work through windows in turn, whichever is wanted most.

mod block;
mod gather;
mod windows;

pub(crate) use block::{Block, Source, User, compare};
pub(crate) use gather::{Gather, Gathered};
pub(crate) use windows::{Merge, Window};
