//! The features store as the report reads it: which files there are, and the intervals in them.

mod files;
mod intervals;
mod source;
mod store;

pub(crate) use files::{FileId, Known, Listed, content_of};
pub(crate) use intervals::Columns;
pub(crate) use source::{FeatureReader, FeatureSource, Found};
pub(crate) use store::FeatureFiles;
pub use store::FeaturesPlace;
