//! The user database: who was in which segments, and on which sites, when.

mod dictionary;
mod fold;
mod folder;
mod gather;
mod hash;
mod lanes;
mod mirror;
mod place;
mod record;
mod settle;
mod snapshot;
mod table;
mod users_file;

pub(crate) use dictionary::{Dictionary, Kind, Origin};
pub(crate) use fold::{Counting, EXPIRY_KNOWN, Fold};
pub(crate) use folder::Folder;
pub(crate) use gather::Gather;
pub(crate) use hash::{bucket_of, hashes_of, stable_hash};
pub(crate) use lanes::{Lanes, keys};
pub(crate) use mirror::{Listing, Mirror};
pub use place::UdbPlace;
pub(crate) use record::{Entry, Garbled, read_number, read_record, write_number, write_record};
pub(crate) use settle::{ByItem, Dead, Living, Settler};
pub(crate) use snapshot::{Draft, Inputs, Snapshot};
pub use table::UdbTable;
pub(crate) use users_file::{UsersFile, UsersWriter};
