//! What a configuration declares: sources and features, remembered so that a contradiction is refused.

use neartime_model::{ChunkWidth, FeatureName, FeatureVersion, Instant, SourceName};

/// A source as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDeclaration {
    /// Its name.
    pub name: SourceName,
    /// The width of its chunks.
    pub width: ChunkWidth,
    /// Its layout as written.
    pub layout: String,
}

/// A feature as the binary and the configuration have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureDeclaration {
    /// Its name.
    pub name: FeatureName,
    /// Its version.
    pub version: FeatureVersion,
    /// The source that it reads.
    pub source: SourceName,
    /// Its engine's name.
    pub engine: String,
    /// Its keys in order, the entity first, and the item of a membership.
    pub keys: Vec<String>,
    /// All output columns, keys included.
    pub columns: Vec<ColumnDeclaration>,
    /// What must not change under an unchanged version; empty where it cannot be told (a Rust feature's code).
    pub definition: String,
}

/// An output column of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDeclaration {
    /// Its name.
    pub name: String,
    /// Its type, in any spelling that stays the same from release to release.
    pub data_type: String,
}

/// What the database knows of a declared feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFeature {
    /// Its name.
    pub name: FeatureName,
    /// The version declared by this binary.
    pub version: FeatureVersion,
    /// The highest version that any binary declared; above `version` during a rolling upgrade or after a roll-back.
    pub newest: FeatureVersion,
    /// When `version` was first declared: it runs on every task that completes after.
    pub first_seen_at: Instant,
}
