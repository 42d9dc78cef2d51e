//! The numbers that order things: generations, versions and fences.

use std::fmt;

/// Counts the changes of a task's input: 1 for its first file, +1 for each further file version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub i64);

/// The version that a feature's author gives it; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureVersion(pub u32);

/// The ever-growing number that a claim gets and every later write must show.
///
/// Microseconds since the epoch by the database's clock, raised where needed so that it always grows; it doubles as
/// the write timestamp of the online store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub i64);

/// The order of published content: a lower one never replaces a higher one.
///
/// Compared by version first, so that during a rolling upgrade the newer code wins whatever it was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentOrder {
    /// Version of the feature that made the content.
    pub version: FeatureVersion,
    /// Generation of the input that it was made from.
    pub generation: Generation,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FeatureVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ContentOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} generation {}", self.version, self.generation)
    }
}
