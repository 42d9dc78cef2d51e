//! The features store as the report reads it: which files there are, and the intervals in them.

mod files;
mod intervals;
mod spool;
mod store;

pub(crate) use files::{FileId, Known, Listed};
pub(crate) use intervals::IntervalReader;
pub(crate) use spool::{Spool, SpoolWriter};
pub(crate) use store::FeatureFiles;
pub use store::FeaturesPlace;
