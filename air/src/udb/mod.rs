//! The user database: who was in which segments, and on which sites, when.

mod dictionary;
mod expiry;
mod fold;
mod folder;
mod hash;
mod joins;
mod lanes;
mod mirror;
mod place;
mod record;
mod settle;
mod snapshot;
mod table;
mod users_file;
mod users_index;
mod users_source;
mod users_writer;

pub(crate) use dictionary::{Dictionary, Kind, Origin};
pub(crate) use fold::{Counting, EXPIRY_KNOWN, Fold, Grouping, Keeping};
pub(crate) use folder::Folder;
pub(crate) use hash::stable_hash;
pub(crate) use joins::Joins;
pub(crate) use lanes::{Lanes, keys};
pub(crate) use mirror::{Listing, Mirror};
pub use place::UdbPlace;
pub(crate) use record::{Entry, Garbled, read_number, write_number};
pub(crate) use settle::{Dead, Living, Memberships, Settler};
pub(crate) use snapshot::{Draft, Hidden, Inputs, Snapshot};
pub use table::UdbTable;
pub(crate) use users_file::UsersFile;
pub(crate) use users_source::UsersSource;
pub(crate) use users_writer::{Records, UsersWriter};
